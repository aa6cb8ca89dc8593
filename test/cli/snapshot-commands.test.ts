/** `clustor snapshot take` and `list` against a node in this process, whose machine gives its state as a test wants. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { beforeEach, expect, onTestFinished, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { partitionId, type PartitionId } from '../../src/base/ids.ts';
import { ClusterDirectory } from '../../src/cli/cluster-directory.ts';
import { exitCodeOf, exitCodes } from '../../src/cli/exit-codes.ts';
import { readConfig } from '../../src/cli/node-config.ts';
import type { Output } from '../../src/cli/output.ts';
import {
  runSnapshotList,
  runSnapshotTake,
  type SnapshotTakeOptions,
} from '../../src/cli/snapshot-commands.ts';
import { openNode } from '../../src/open-node.ts';
import type { StateMachine } from '../../src/ports/state-machine.ts';
import { machineThat } from '../admin/admin-fixture.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'clustor-snapshots-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
});

/** What a command printed. */
class Printed implements Output {
  readonly isJson = true;
  readonly results: { readonly value: object; readonly text: string }[] = [];
  readonly steps: string[] = [];

  result(value: object, text: string): void {
    this.results.push({ value, text });
  }

  progress(text: string): void {
    this.steps.push(text);
  }

  note(): void {
    return undefined;
  }

  error(): void {
    return undefined;
  }
}

/** A cluster of one node, which holds one entry. */
async function begin(snapshot: () => AsyncIterable<Uint8Array>): Promise<{
  readonly options: SnapshotTakeOptions;
  readonly partition: PartitionId;
}> {
  const directory = new ClusterDirectory(folder);
  const cluster = await directory.prepare(
    {
      nodeCount: 1,
      spareCount: 0,
      partitionCount: 1,
      product: undefined,
      basePort: 1,
      productPort: 1,
      isPortsAuto: true,
      leaseMs: 0,
      snapshotLogBytes: undefined,
      isEncrypted: false,
    },
    Date.now(),
  );
  await directory.issueCertificates(cluster, Date.now());
  const { listen, certificates, dataDirectory } = await readConfig(directory.nodeConfigPath(1));
  const machine: StateMachine = { ...machineThat(), snapshot };
  const node = await openNode({
    directory: dataDirectory,
    clusterId: cluster.clusterId,
    nodeId: 1,
    listen,
    certificates,
    createStateMachine: () => machine,
    diskPolicy: 'warn',
  });
  onTestFinished(() => node.close());
  const partition = partitionId(present(cluster.partitions[0], 'a partition').partitionId);
  await node.partition(partition).append(new Uint8Array([1]));
  return { options: { dir: folder, timeoutS: 30 }, partition };
}

test('a snapshot that was taken is told and listed', async () => {
  const { options, partition } = await begin(async function* () {
    yield await Promise.resolve(new Uint8Array(2048));
  });
  const [taken, list] = [new Printed(), new Printed()];

  expect(await runSnapshotTake(options, taken)).toBe(exitCodes.done);
  expect(await runSnapshotList(options, list)).toBe(exitCodes.done);

  const told = { nodeId: 1, partitionId: partition, snapshot: { index: 2, term: 1 } };
  expect(taken.results).toMatchObject([
    { value: told, text: expect.stringContaining('up to entry 2 of term 1, 2.') as string },
  ]);
  const [shown] = list.results;
  expect(shown?.value).toMatchObject({
    nodes: [
      { nodeId: 1, partitions: [{ partitionId: partition, snapshots: { snapshots: [{}] } }] },
    ],
  });
  expect(shown?.text).toContain('2 (term 1)');
  await expect(runSnapshotTake({ ...options, node: 9 }, taken)).rejects.toMatchObject({
    code: 'CLUSTOR_INVALID_ARGUMENT',
  });
});

test('one that takes a while tells how much is written', async () => {
  const printed = new Printed();
  const { options } = await begin(async function* () {
    yield new Uint8Array(3072);
    while (printed.steps.length < 2) await new Promise((wake) => setTimeout(wake, 20));
    yield new Uint8Array(1024);
  });

  expect(await runSnapshotTake(options, printed)).toBe(exitCodes.done);

  // With the replicated state besides the machine, which comes first.
  expect(printed.steps[0]).toMatch(/^node 1: 3\.0[1-9] KiB are written$/);
  expect(printed.results).toMatchObject([{ value: { nodeId: 1, snapshot: { index: 2 } } }]);
});

test('one that is not done in time goes on, and the exit code says that nobody knows', async () => {
  let give = (): void => undefined;
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  const { options } = await begin(async function* () {
    await given;
    yield new Uint8Array(8);
  });

  const failure = await runSnapshotTake({ ...options, timeoutS: 1 }, new Printed()).catch(
    (error: unknown) => error,
  );
  give();

  expect(failure).toMatchObject({ code: 'CLUSTOR_DEADLINE_EXCEEDED' });
  expect(exitCodeOf(failure)).toBe(exitCodes.unknown);
  const listed = async (): Promise<unknown> => {
    const list = new Printed();
    await runSnapshotList(options, list);
    return list.results[0]?.text.includes('2 (term 1)');
  };
  await expect.poll(listed, { timeout: 10_000 }).toBe(true);
});

test('a machine that gives no state is asked again for a while, and then named', async () => {
  let asked = 0;
  const { options } = await begin(async function* () {
    asked++;
    yield await Promise.reject(new Error('no state today'));
  });

  const failure = await runSnapshotTake({ ...options, timeoutS: 1 }, new Printed()).catch(
    (error: unknown) => error,
  );

  expect(failure).toMatchObject({
    code: 'CLUSTOR_SNAPSHOT_UNAVAILABLE',
    message: expect.stringContaining('no state today') as string,
  });
  expect(exitCodeOf(failure)).toBe(exitCodes.refused);
  expect(asked).toBeGreaterThan(1);
  const list = new Printed();
  await runSnapshotList(options, list);
  expect(list.results[0]?.text).toContain('not taken: no state today');
});
