/** What is read back from the log is what the core says stands there, or it is refused. */
import { expect, test } from 'vitest';

import { logIndex, partitionId, term } from '../../src/base/ids.ts';
import { readChecked } from '../../src/runtime/checked-read.ts';
import type { PartitionLog } from '../../src/storage/partition-log.ts';
import { createCore } from '../raft/core-driver.ts';
import { frames } from '../storage/model-frames.ts';

const somePartition = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');

function reading(terms: readonly number[]): ReturnType<typeof readChecked> {
  const entries = terms.map((value, at) => ({ index: at + 2, term: value, payload: 'x' }));
  const log = { read: () => Promise.resolve(frames(somePartition, entries)) };
  const state = createCore({ log: [1, 1, 2, 2] });
  return readChecked(
    { log: log as unknown as PartitionLog, state },
    { firstIndex: logIndex(2), lastIndex: logIndex(4), bytesMax: 1000 },
  );
}

test('entries of the terms of the log are handed on', async () => {
  expect(await reading([1, 2, 2])).toMatchObject({
    firstIndex: 2,
    lastIndex: 4,
    lastTerm: term(2),
  });
});

test('an entry of another term is refused', async () => {
  await expect(reading([1, 1, 2])).rejects.toMatchObject({ code: 'CLUSTOR_INTEGRITY' });
});
