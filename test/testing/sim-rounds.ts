/** What the tests of the simulated world share: microtasks that run out, and promises that need virtual time. */
import { clusterId, nodeId, type NodeId } from '../../src/base/ids.ts';
import type { SimScheduler } from '../../src/testing/sim-scheduler.ts';
import { SimWorld, type SimWorldOptions } from '../../src/testing/sim-world.ts';

export const sampleClusterId = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');

export const threeNodes: readonly NodeId[] = [nodeId(1), nodeId(2), nodeId(3)];

/** Resolves when no microtask is left. */
export function drainMicrotasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export function sampleWorld(seed: number, options: Partial<SimWorldOptions> = {}): SimWorld {
  return new SimWorld({ seed, clusterId: sampleClusterId, nodeIds: threeNodes, ...options });
}

/** Runs virtual time until a promise settles, a minute of it at most. */
export async function settled<T>(scheduler: SimScheduler, promise: Promise<T>): Promise<T> {
  let isSettled = false;
  const note = (): void => {
    isSettled = true;
  };
  promise.then(note, note);
  await scheduler.run({
    untilMs: scheduler.nowMs + 60_000,
    drainMicrotasks,
    isDone: () => isSettled,
  });
  if (!isSettled) throw new Error('the promise is still open after a minute of virtual time');
  return promise;
}

/** Runs virtual time for a while. */
export async function pass(world: SimWorld, forMs: number): Promise<void> {
  await world.run({ untilMs: world.nowMs + forMs, drainMicrotasks });
}
