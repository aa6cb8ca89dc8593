/** Addresses as operators write them. */
import { ClustorError } from '../base/errors.ts';
import type { NodeAddress } from '../ports/transport.ts';

/** The last port there is. */
export const portMax = 65_535;

/** `host:port` as an address. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
export function parseAddress(text: string): NodeAddress {
  const colon = text.lastIndexOf(':');
  const host = text.slice(0, Math.max(0, colon)).replace(/^\[|\]$/g, '');
  const digits = text.slice(colon + 1);
  const port = Number(digits);
  // Digits alone: `Number` also takes nothing, spaces, fractions, exponents and other bases.
  if (host === '' || !/^\d{1,5}$/.test(digits) || port > portMax) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `an address looks like 127.0.0.1:7400, got "${text}"`,
    );
  }
  return { host, port };
}
