/**
 * Fields of what was stored under a CRC that fits.
 *
 * Bytes that fit their CRC and make no sense are not what a crash leaves: somebody wrote them so. They are never taken for a
 * torn write, of which the rest may go on without; whoever reads them stops.
 */
import { ClustorError } from '../base/errors.ts';

/** Reads fields. @throws ClustorError `CLUSTOR_INTEGRITY` where they cannot be read, or another code that `read` chose. */
export function readStored<Fields>(what: string, read: () => Fields): Fields {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ClustorError) || !error.code.startsWith('CLUSTOR_WIRE_')) throw error;
    throw new ClustorError(
      'CLUSTOR_INTEGRITY',
      `${what} fits its CRC and is none: ${error.message}`,
      {
        cause: error,
      },
    );
  }
}
