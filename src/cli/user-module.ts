/** Modules that users name on the command line or in a configuration. */
import { isAbsolute, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ClustorError, messageOf } from '../base/errors.ts';

/**
 * Loads a module: a path that is absolute or begins with a dot, from the working directory; or a package's name.
 *
 * @param what - What it is to the user, for the message.
 * @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`.
 */
export async function importUserModule(
  specifier: string,
  what: string,
): Promise<Readonly<Record<string, unknown>>> {
  const isPath = isAbsolute(specifier) || specifier.startsWith('.');
  try {
    return (await import(isPath ? pathToFileURL(resolve(specifier)).href : specifier)) as Readonly<
      Record<string, unknown>
    >;
  } catch (error) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `${what} ${specifier} cannot be loaded: ${messageOf(error)}${isPath ? '' : ' (a file of yours begins with ./)'}`,
      { cause: error },
    );
  }
}
