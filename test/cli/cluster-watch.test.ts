/** When `up` says that its nodes are ready, and when it gives up. */
import { expect, test } from 'vitest';

import { ClusterWatch } from '../../src/cli/cluster-watch.ts';
import type { NodeEvent } from '../../src/cli/supervisor.ts';

function ready(nodeId: number): NodeEvent {
  return { event: 'nodeReady', node: { nodeId, pid: nodeId, address: 'a:1', product: {} } };
}

function exited(nodeId: number, code: number, lastWords?: string): NodeEvent {
  return { event: 'nodeExited', nodeId, pid: nodeId, code, signal: undefined, lastWords };
}

/** What a watch says once all this has happened. */
async function saidAfter(
  events: readonly NodeEvent[],
  { nodeCount = 2, isRestarting = true } = {},
): Promise<unknown> {
  const watch = new ClusterWatch({ nodeCount, isRestarting });
  for (const event of events) watch.note(event);
  const nothing = new Promise((resolve) => setImmediate(resolve, 'nothing'));
  return Promise.race([watch.hopeless, watch.allReady, nothing]).catch((error: unknown) => error);
}

test('all are ready once each is', async () => {
  expect(await saidAfter([ready(1)])).toBe('nothing');
  expect(await saidAfter([ready(1), exited(1, 1), ready(2)])).toBe('nothing');
  expect(await saidAfter([ready(1), exited(1, 1), ready(2), ready(1)])).toBe('allReady');
});

test('a node that stays dead is not waited for', async () => {
  const options = { isRestarting: false };

  expect(await saidAfter([exited(1, 1)], options)).toBe('nothing');
  expect(await saidAfter([exited(1, 1), ready(2)], options)).toBe('allReady');
});

test('a node that cannot start as it is configured ends the waiting, with its last words', async () => {
  expect(await saidAfter([ready(1), exited(2, 2, 'no such module')])).toMatchObject({
    code: 'CLUSTOR_INVALID_ARGUMENT',
    message: 'node 2 cannot start: code 2, "no such module"',
  });
  expect(await saidAfter([ready(2), exited(2, 2)])).toBe('nothing');
  expect(await saidAfter([exited(2, 1)])).toBe('nothing');
});

test('a cluster without a node that lives or comes back has an end', async () => {
  const options = { isRestarting: false };

  expect(await saidAfter([exited(1, 1), exited(2, 1, 'boom')], options)).toMatchObject({
    code: 'CLUSTOR_NODE_UNREACHABLE',
    message: expect.stringContaining('boom'),
  });
});
