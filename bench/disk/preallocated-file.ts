/**
 * Files made as the journal makes them: zero-filled and synced before use, since a sync of a block that was
 * never written must also sync the file system's own records and costs more than twice as much.
 */
import { closeSync, constants, fsyncSync, openSync, writeSync } from 'node:fs';

/** How the file system is asked to make a write durable. */
export type WriteMode = 'buffered' | 'direct';

/** What every block, offset and memory address of a direct write is a multiple of. */
export const blockBytes = 4096;

const fillBytes = 1 << 20;

/** Makes a file of `bytes` zeros that lie on the disk. */
export function preallocate(path: string, bytes: number): void {
  const descriptor = openSync(path, 'w');
  const zeros = Buffer.alloc(Math.min(fillBytes, bytes));
  for (let at = 0; at < bytes; at += zeros.length) {
    writeSync(descriptor, zeros, 0, Math.min(zeros.length, bytes - at));
  }
  fsyncSync(descriptor);
  closeSync(descriptor);
}

/** Opens a preallocated file; a direct one goes past the page cache and is durable when `write` returns. */
export function openForWriting(path: string, mode: WriteMode): number {
  const flags = mode === 'direct' ? constants.O_DIRECT | constants.O_DSYNC : 0;
  return openSync(path, constants.O_RDWR | flags);
}

interface SharedMemory {
  readonly buffer: SharedArrayBuffer;
}

declare const WebAssembly: {
  readonly Memory: new (descriptor: {
    readonly initial: number;
    readonly maximum: number;
    readonly shared: true;
  }) => SharedMemory;
};

/**
 * Memory that starts on a page boundary and that a worker can share. Ordinary buffers give no such promise, and
 * a direct write from an unaligned address is refused; a WebAssembly memory always lies on whole pages.
 */
export function alignedSharedMemory(bytes: number): SharedArrayBuffer {
  const pageCount = Math.ceil(bytes / 65_536);
  return new WebAssembly.Memory({ initial: pageCount, maximum: pageCount, shared: true }).buffer;
}
