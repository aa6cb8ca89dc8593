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

test('garbage is collected once the node sleeps, once in each sleep', async () => {
  const node = { isHibernating: false };
  const stop = releaseMemoryWhenIdle(node);

  const awake = await garbage();
  vi.advanceTimersByTime(10_000);
  await new Promise(setImmediate);
  expect(awake.deref()).toBeDefined();
  await new Promise(setImmediate);

  node.isHibernating = true;
  const first = await garbage();
  vi.advanceTimersByTime(5_000);
  await new Promise(setImmediate);
  expect(first.deref()).toBeUndefined();

  const second = await garbage();
  vi.advanceTimersByTime(60_000);
  await new Promise(setImmediate);
  expect(second.deref()).toBeDefined();
  stop();
});
