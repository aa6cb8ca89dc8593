import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  commandKind,
  IoWorker,
  type ChainResult,
  type SharedMemory,
} from '../../src/platform/io-worker.ts';

const pageBytes = 65_536;
let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'clustor-io-worker-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** `WebAssembly` has no types without the DOM library. */
function sharedMemory(pages: number): SharedMemory {
  const { Memory } = (
    globalThis as unknown as {
      readonly WebAssembly: {
        readonly Memory: new (descriptor: object) => SharedMemory;
      };
    }
  ).WebAssembly;
  return new Memory({ initial: pages, maximum: 4096, shared: true });
}

function pause(forMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, forMs));
}

test('bytes in memory that grew while the thread was being started are written', async () => {
  const path = join(folder, 'file');
  for (let start = 0; start < 40; start++) {
    const memory = sharedMemory(1);
    const worker = new IoWorker(memory, () => undefined);
    const descriptor = openSync(path, 'w');
    await pause(start % 20);

    memory.grow(1);
    new Uint8Array(memory.buffer, pageBytes, 4).set([1, 2, 3, start]);
    const result = await new Promise<ChainResult>((resolve) => {
      worker.run(
        [{ kind: commandKind.write, descriptor, offset: pageBytes, length: 4, position: 0 }],
        resolve,
      );
    });

    expect(result).toBeUndefined();
    expect([...readFileSync(path)]).toEqual([1, 2, 3, start]);
    await worker.close();
    closeSync(descriptor);
  }
});
