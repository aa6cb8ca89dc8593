/** Errors of the system and of libraries as commands tell them: with a code, like all others. */
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';

/** What the system says of a path or address that somebody named. */
const wrongPlace: readonly unknown[] = [
  'ENOENT',
  'ENOTDIR',
  'EISDIR',
  'EACCES',
  'EPERM',
  'EROFS',
  'EEXIST',
  'ENOTEMPTY',
  'ELOOP',
  'ENAMETOOLONG',
  'EADDRINUSE',
  'EADDRNOTAVAIL',
];
const noRoom: readonly unknown[] = ['ENOSPC', 'EDQUOT'];

/** The error itself if it is coded; otherwise one that says the same with a code. */
export function codedError(error: unknown): ClustorError {
  if (isClustorError(error)) return error;
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  const message = messageOf(error);
  if (wrongPlace.includes(code))
    return new ClustorError('CLUSTOR_INVALID_ARGUMENT', message, { cause: error });
  if (noRoom.includes(code))
    return new ClustorError('CLUSTOR_DISK_HARD', message, { cause: error });
  return new ClustorError('CLUSTOR_INTERNAL', message, { cause: error });
}
