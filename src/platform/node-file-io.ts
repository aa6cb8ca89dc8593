/** Reading, writing and syncing whole pieces, and what the operating system's errors become. */
import { open, type FileHandle as NodeFileHandle } from 'node:fs/promises';
import { getSystemErrorName } from 'node:util';
import { ClustorError, messageOf } from '../base/errors.ts';
import { workerDiedErrorNumber } from './io-worker.ts';
import type { Channel } from './open-file.ts';

const blockBytes = 4096;

export async function readInto(
  { handle, isDirect }: Channel,
  target: Buffer,
  place: { readonly path: string; readonly position: number },
): Promise<Uint8Array> {
  const { path, position } = place;
  let filled = 0;
  try {
    while (filled < target.length) {
      const { bytesRead } = await handle.read(
        target,
        filled,
        target.length - filled,
        position + filled,
      );
      if (bytesRead === 0) break;
      filled += bytesRead;
      // A direct read goes on only from a block's start; a shorter one was the end of the file.
      if (isDirect && bytesRead % blockBytes !== 0) break;
    }
  } catch (error) {
    throw failed('read', path, error);
  }
  return target.subarray(0, filled);
}

export async function writeFully(
  handle: NodeFileHandle,
  bytes: Buffer,
  place: { readonly length: number; readonly position: number },
): Promise<void> {
  for (let done = 0; done < place.length;) {
    const { bytesWritten } = await handle.write(
      bytes,
      done,
      place.length - done,
      place.position + done,
    );
    done += bytesWritten;
  }
}

export async function syncPath(
  path: string,
  sync: (handle: NodeFileHandle) => Promise<void>,
): Promise<void> {
  try {
    const handle = await open(path, 'r');
    try {
      await sync(handle);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw failed('sync', path, error);
  }
}

export function systemCodeOf(errorNumber: number): string {
  return errorNumber === workerDiedErrorNumber ? 'EWORKER' : getSystemErrorName(errorNumber);
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

export function failed(what: string, path: string, error: unknown): ClustorError {
  return new ClustorError('CLUSTOR_STORAGE_FAILED', `cannot ${what} ${path}: ${messageOf(error)}`, {
    cause: error,
    details: { systemCode: codeOf(error) },
  });
}
