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

test('the first step of a chain is done while the next is still being made, and a failed one ends its chain', async () => {
  const path = join(folder, 'file');
  const memory = sharedMemory(1);
  new Uint8Array(memory.buffer).set([7, 8]);
  const worker = new IoWorker(memory, () => undefined);
  const descriptor = openSync(path, 'w');
  let seenBytes = 0;
  const second = () => {
    for (const untilMs = Date.now() + 5000; seenBytes === 0 && Date.now() < untilMs;)
      seenBytes = readFileSync(path).length;
    return write(1);
  };
  const write = (position: number) => ({
    kind: commandKind.write,
    descriptor,
    offset: position,
    length: 1,
    position,
  });
  const run = (at: (step: number) => ReturnType<typeof write>): Promise<ChainResult> =>
    new Promise((resolve) => {
      worker.run({ length: 2, at }, resolve);
    });

  const result = await run((step) => (step === 0 ? write(0) : second()));

  expect(result).toBeUndefined();
  expect(seenBytes, 'written before the second step was known').toBe(1);
  expect([...readFileSync(path)]).toEqual([7, 8]);

  // The first step fails before the second is there: that one is not done, and the next chain is one of its own.
  const failed = await run((step) => {
    if (step === 0) return { ...write(0), descriptor: -1 };
    const untilMs = Date.now() + 50;
    while (Date.now() < untilMs);
    return write(5);
  });
  expect(failed).toMatchObject({ stepIndex: 0 });
  expect(readFileSync(path)).toHaveLength(2);
  expect(await run((step) => write(step))).toBeUndefined();

  // A second step that cannot be made: the chain is told as failed, and the next one is not taken for its end.
  let told: ChainResult | 'nothing' = 'nothing';
  const begin = (): void => {
    const at = (step: number): ReturnType<typeof write> => {
      if (step === 1) throw new Error('cannot be made');
      return write(0);
    };
    worker.run({ length: 2, at }, (result) => {
      told = result;
    });
  };
  expect(begin).toThrow('cannot be made');
  expect(await run((step) => write(step))).toBeUndefined();
  expect(told).toMatchObject({ stepIndex: 1 });
  await worker.close();
  closeSync(descriptor);
});
