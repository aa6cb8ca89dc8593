/** Addresses as operators write them. */
import { ClustorError } from '../base/errors.ts';
import type { NodeAddress } from '../ports/transport.ts';

/** `host:port` as an address. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
export function parseAddress(text: string): NodeAddress {
  const colon = text.lastIndexOf(':');
  const port = Number(text.slice(colon + 1));
  if (colon < 1 || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `an address looks like 127.0.0.1:7400, got "${text}"`,
    );
  }
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port };
}
