/** A node whose ledger has lost what its replicas stand on (specification §0, KER-9). */
import { expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { partitionId } from '../../src/base/ids.ts';
import { readLedgerFlush } from '../../src/codec/ledger-format.ts';
import { FaultAtlas, wholeLog } from '../../src/testing/fault-atlas.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

const partition = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');
const ledgerPath = '/data/wal/durability.log';

test('that names its members is refused with a code, and the others go on', async () => {
  const atlas = new FaultAtlas({ configurations: () => [], doubtTakes: 'entries' });
  const scenario = await ScenarioCluster.start(1, 3, { atlas });
  const leader = await scenario.untilLeader();
  await scenario.settle(scenario.write(leader, 'key', 'before'));
  const victim = present(scenario.others(leader)[0], 'a follower');
  const disk = scenario.world.disk(victim);
  scenario.crash(victim);

  atlas.claim(victim, [wholeLog(partition)]);
  const bytes = present(disk.syncedBytes(ledgerPath), 'the ledger');
  let first = Number.MAX_SAFE_INTEGER;
  const copies: { readonly offset: number; readonly flushSeq: number }[] = [];
  for (let offset = 0; offset < bytes.length; offset += 4096) {
    const flush = readLedgerFlush(bytes, offset);
    if (flush === undefined) continue;
    copies.push({ offset, flushSeq: flush.flushSeq });
    first = Math.min(first, flush.flushSeq);
  }
  for (const { offset, flushSeq } of copies)
    if (flushSeq === first) disk.flipBit(ledgerPath, offset + 20, 3);
  scenario.start(victim);
  await scenario.advance(200);
  await scenario.settle(scenario.write(leader, 'key', 'after'));

  const [refusal] = scenario.eventsOf(victim, 'refusedDamage');
  expect(refusal?.event.fields).toMatchObject({ code: 'CLUSTOR_INTEGRITY' });
  expect(refusal?.event.fields['message']).toContain('has lost the members of partition');
  expect(scenario.value(leader, 'key')).toBe('after');
});
