/** What a node's process does with its memory once nobody uses it. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { releaseMemoryWhenIdle } from '../../src/cli/idle-memory.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Something that nobody holds. A weak reference holds it until the turn of the loop ends. */
async function garbage(): Promise<WeakRef<object>> {
  const reference = new WeakRef<object>({ bytes: new Array<number>(10_000).fill(1) });
  await new Promise(setImmediate);
  return reference;
}

test('garbage is collected while the node sleeps, at three looks of each sleep and no more', async () => {
  const node = { isHibernating: false };
  const stop = releaseMemoryWhenIdle(node, () => 150e6);
  expect(await isCollectedWithin(10_000)).toBe(false);

  for (let sleep = 0; sleep < 2; sleep++) {
    node.isHibernating = true;
    for (let look = 0; look < 3; look++) expect(await isCollectedWithin(5_000)).toBe(true);
    expect(await isCollectedWithin(60_000)).toBe(false);

    node.isHibernating = false;
    expect(await isCollectedWithin(5_000)).toBe(false);
  }
  stop();
});

test('a small heap is left alone: compiled code is worth more than what it would give back', async () => {
  const heap = { bytes: 30e6 };
  const node = { isHibernating: true };
  const stop = releaseMemoryWhenIdle(node, () => heap.bytes);
  expect(await isCollectedWithin(60_000)).toBe(false);

  // What the next sleep finds counts.
  node.isHibernating = false;
  await isCollectedWithin(5_000);
  heap.bytes = 150e6;
  node.isHibernating = true;
  expect(await isCollectedWithin(5_000)).toBe(true);
  stop();
});

/** Whether garbage of now is gone after that time. */
async function isCollectedWithin(ms: number): Promise<boolean> {
  const reference = await garbage();
  vi.advanceTimersByTime(ms);
  await new Promise(setImmediate);
  const isCollected = reference.deref() === undefined;
  await new Promise(setImmediate);
  return isCollected;
}
