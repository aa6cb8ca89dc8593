/** What the disk of a running node proves, over the admin service, beside what its directory proves to whoever reads that. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { evidenceMessage, evidenceOf } from '../../src/admin/evidence-message.ts';
import type { AdminClient } from '../../src/admin/admin-client.ts';
import {
  incarnation,
  logIndex,
  nodeId,
  replicaId,
  term,
  type LogIndex,
} from '../../src/base/ids.ts';
import { nodeClock } from '../../src/platform/node-clock.ts';
import { openNodeFileSystem } from '../../src/platform/node-file-system.ts';
import type { FileSystem } from '../../src/ports/file-system.ts';
import { EvidenceDesk, evidenceIndexesMax } from '../../src/runtime/evidence-desk.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import type { DirectoryEvidence, EntryFinding } from '../../src/storage/entry-evidence.ts';
import { AdminWorld, partition, type RunningNode } from './admin-fixture.ts';

let world: AdminWorld;
let running: RunningNode;
let admin: AdminClient;

beforeAll(async () => {
  world = await AdminWorld.create();
  running = await world.start();
  admin = await world.client(running.address, { material: await world.materialOf('operator') });
  for (let count = 0; count < 5; count++)
    await running.node.partition(partition).append(Uint8Array.of(count));
});

afterAll(() => world.close());

describe('a running node', () => {
  test('proves what it acknowledged, and says why it does not prove the rest', async () => {
    const last = running.node.partition(partition).status().lastIndex;
    const indexes = [1n, BigInt(last), BigInt(last) + 1n];

    const evidence = evidenceOf(await admin.gatherEvidence({ partitionId: partition, indexes }));

    expect(evidence).toMatchObject({ nodeId: 1, replica: { replicaId: 1 }, baseIndex: 0 });
    expect(evidence.doubt).toBeUndefined();
    expect(evidence.configurations[0]?.members).toMatchObject([{ nodeId: 1, role: 'voter' }]);
    expect([...evidence.findings.values()]).toMatchObject([
      { kind: 'held', index: 1, segmentMac: 'open', ledger: { record: {} } },
      { kind: 'held', index: last, ledger: { covers: {} } },
      { kind: 'notHeld', index: last + 1, reason: 'the ledger does not cover it' },
    ]);
  });

  test('goes on while its disk is read', async () => {
    const before = running.node.partition(partition).status().lastIndex;
    const [evidence] = await Promise.all([
      admin.gatherEvidence({ partitionId: partition, indexes: [BigInt(before)] }),
      running.node.partition(partition).append(Uint8Array.of(9)),
    ]);

    expect(evidenceOf(evidence).findings.get(before)).toMatchObject({ kind: 'held' });
  });

  test('takes neither no entry nor too many, and no number that is none', async () => {
    const tooMany = Array.from({ length: evidenceIndexesMax + 1 }, (_, at) => BigInt(at + 1));
    for (const indexes of [[], tooMany, [2n ** 63n]])
      await expect(admin.gatherEvidence({ partitionId: partition, indexes })).rejects.toMatchObject(
        { code: 'CLUSTOR_INVALID_ARGUMENT' },
      );
  });
});

describe('the desk', () => {
  const one = new Set([logIndex(1)]);

  function deskOn(fileSystem: FileSystem): EvidenceDesk {
    return new EvidenceDesk({
      directory: '/nowhere',
      fileSystem,
      clock: nodeClock,
      cryptography: nodeCryptography,
      keys: () => running.node.journalKeys,
    });
  }

  test('reads for one at a time, lets some wait and refuses more, and ends when it is closed', async () => {
    const fileSystem = await openNodeFileSystem({});
    let reading = 0;
    let highest = 0;
    let goOn: (() => void) | undefined;
    let begun: (() => void) | undefined;
    const gate = new Promise<void>((resolve) => (goOn = resolve));
    const isReading = new Promise<void>((resolve) => (begun = resolve));
    const desk = deskOn(
      Object.assign(Object.create(fileSystem) as FileSystem, {
        listDirectory: async () => {
          highest = Math.max(highest, ++reading);
          begun?.();
          await gate;
          reading--;
          throw new Error('a disk that is gone');
        },
      }),
    );
    const asked = Array.from({ length: 8 }, () =>
      desk.gather({ partitionId: partition, indexes: one }),
    );
    const outcomes = Promise.allSettled(asked);

    expect(() => desk.gather({ partitionId: partition, indexes: one })).toThrow(
      expect.objectContaining({ code: 'CLUSTOR_OVERLOADED' }) as Error,
    );
    await isReading;
    const closed = desk.close();
    goOn?.();
    await closed;

    const reasons = (await outcomes).map((row) => String((row as PromiseRejectedResult).reason));
    expect(reasons[0]).toContain('a disk that is gone');
    expect(reasons.slice(1).every((reason) => reason.includes('the node stops'))).toBe(true);
    expect(highest).toBe(1);
    await fileSystem.shutDown();
  });
});

describe('a question whose caller has gone', () => {
  test('is not read on, nor begun', async () => {
    const fileSystem = await openNodeFileSystem({});
    const leaving = new AbortController();
    const desk = new EvidenceDesk({
      directory: running.directory,
      fileSystem,
      // A rest is when it leaves.
      clock: {
        ...nodeClock,
        setTimer: (delayMs, callback) => {
          leaving.abort();
          return nodeClock.setTimer(delayMs, callback);
        },
      },
      cryptography: nodeCryptography,
      keys: () => running.node.journalKeys,
    });
    const big = Uint8Array.from({ length: 900_000 }, (_, at) => at);
    await running.node.partition(partition).append(big);
    const question = {
      partitionId: partition,
      indexes: new Set([logIndex(1)]),
      signal: leaving.signal,
    };

    await expect(desk.gather(question)).rejects.toMatchObject({ code: 'CLUSTOR_CLOSED' });
    await expect(desk.gather(question)).rejects.toMatchObject({ code: 'CLUSTOR_CLOSED' });
    const { signal: _, ...patient } = question;
    expect((await desk.gather(patient)).findings.get(logIndex(1))?.kind).toBe('held');
    await desk.close();
    await fileSystem.shutDown();
  });
});

describe('evidence on its way', () => {
  const life = { replicaId: replicaId(2), incarnation: incarnation(partition) };
  const place = { index: logIndex(7), term: term(3) };
  const member = { ...life, nodeId: nodeId(4), addresses: ['127.0.0.1:1'] };
  const findings: readonly EntryFinding[] = [
    {
      kind: 'held',
      index: logIndex(9),
      term: term(4),
      segmentSeq: 2,
      block: 17,
      offset: 30,
      bytes: 311,
      crc: 0xfedcba98,
      hasLeaf: true,
      segmentMac: 'good',
      ledger: {
        generation: 3,
        flushSeq: 12,
        offset: 8192,
        copies: 'firstOnly',
        isCarriedOver: true,
        record: { ...place, commitIndex: logIndex(6) },
        covers: { segmentSeq: 2, endOffset: 123_456 },
        movedBy: { generation: 2, flushSeq: 11 },
      },
    },
    {
      kind: 'inSnapshot',
      index: logIndex(5),
      base: { ...place, generation: 3, flushSeq: 4 },
      snapshot: { ...place, contentHash: 'ab', createdMs: 1_700_000_000_000, bytes: 99, parts: 2 },
    },
    { kind: 'notHeld', index: logIndex(10), reason: 'because' },
  ];
  const whole: DirectoryEvidence = {
    clusterId: 'a cluster',
    nodeId: 4,
    replica: life,
    doubt: 'it forgot',
    commitIndex: logIndex(8),
    configurations: [
      {
        ...place,
        members: [{ ...member, role: 'voter' }],
        outgoingMembers: [
          { ...member, role: 'learner' },
          { ...member, role: 'observer' },
        ],
      },
    ],
    baseIndex: logIndex(6),
    terms: [{ firstIndex: logIndex(7), lastIndex: logIndex(9), term: term(4) }],
    committed: [place],
    findings: new Map<LogIndex, EntryFinding>(findings.map((row) => [row.index, row])),
  };

  /** As a client gets it: with plain numbers. */
  const received = (evidence: DirectoryEvidence): Parameters<typeof evidenceOf>[0] =>
    JSON.parse(
      JSON.stringify(evidenceMessage(evidence), (_, value: unknown) =>
        typeof value === 'bigint' ? Number(value) : value,
      ),
    ) as Parameters<typeof evidenceOf>[0];

  test('loses nothing', () => {
    expect(evidenceOf(received(whole))).toEqual(whole);
    const bare = { ...whole, replica: undefined, doubt: undefined };
    expect(evidenceOf(received(bare))).toEqual(bare);
  });

  test('that says what nobody would is refused', () => {
    const { findings: rows, ...rest } = received(whole);
    const [held] = rows;
    if (held?.finding.case !== 'held') throw new Error('the first one is held');
    const { value } = held.finding;
    for (const strange of [
      { ...held, finding: { case: 'held' as const, value: { ...value, segmentMac: 'fine' } } },
      { ...held, finding: { case: 'held' as const, value: { ...value, ledger: undefined } } },
      { ...held, finding: { case: undefined, value: undefined } },
    ])
      expect(() => evidenceOf({ ...rest, findings: [strange] })).toThrow(
        'the evidence of a node cannot be understood',
      );
  });
});
