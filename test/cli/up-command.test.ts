/** What `up` refuses before it writes anything, and what it tells of who has the folder. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { beforeEach, expect, onTestFinished, test } from 'vitest';

import { ClusterDirectory } from '../../src/cli/cluster-directory.ts';
import { readConfig } from '../../src/cli/node-config.ts';
import type { Output } from '../../src/cli/output.ts';
import { recordedProcesses, recordProcesses } from '../../src/cli/processes-file.ts';
import { runUp, type UpOptions } from '../../src/cli/up-command.ts';
import { lockDirectory } from '../../src/platform/directory-lock.ts';

const silence: Output = {
  isJson: true,
  result: () => undefined,
  note: () => undefined,
  progress: () => undefined,
  error: () => undefined,
};
const options: Omit<UpOptions, 'dir'> = {
  nodes: 3,
  spares: 0,
  partitions: 1,
  basePort: 7401,
  productPort: 7379,
  ports: 'consecutive',
  restart: true,
  leases: 0,
};

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'clustor-up-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
});

test.each([
  ['a base port beyond all', { basePort: 70_000 }],
  ['port 0', { basePort: 0 }],
  ['ports that count up beyond all', { basePort: 65_534 }],
  ['ports that count up beyond all with spares', { basePort: 65_533, spares: 1 }],
  ['a product port beyond all', { productPort: 99_999 }],
])('%s is refused, and no folder is made', async (_name, changes) => {
  const dir = join(folder, 'new');

  await expect(runUp({ ...options, ...changes, dir }, silence)).rejects.toMatchObject({
    code: 'CLUSTOR_INVALID_ARGUMENT',
    message: expect.stringContaining('port'),
  });
  expect(existsSync(dir)).toBe(false);
});

test('spares of a wider cluster are refused ports that there are not', async () => {
  const directory = new ClusterDirectory(folder);
  const wanted = { nodeCount: 1, spareCount: 0, partitionCount: 1, product: undefined };
  const rest = {
    productPort: 7379,
    isPortsAuto: false,
    leaseMs: 0,
    snapshotLogBytes: undefined,
    isEncrypted: false,
  };
  await directory.prepare({ ...wanted, ...rest, basePort: 7401 }, Date.now());

  const more = { ...wanted, ...rest, basePort: 65_535, spareCount: 1 };

  await expect(directory.prepare(more, Date.now())).rejects.toMatchObject({
    code: 'CLUSTOR_INVALID_ARGUMENT',
  });
  expect((await directory.read())?.nodes).toHaveLength(1);
});

test('what counts for one start stands in the configuration of each node until the next', async () => {
  const directory = new ClusterDirectory(folder);
  const wanted = { nodeCount: 1, spareCount: 0, partitionCount: 1, product: undefined };
  const ports = { basePort: 7401, productPort: 7379, isPortsAuto: false };
  const given = { ...wanted, ...ports, isEncrypted: false, leaseMs: 0 };
  const configured = async (snapshotLogBytes: number | undefined): Promise<unknown> => {
    await directory.prepare({ ...given, snapshotLogBytes }, Date.now());
    return (await readConfig(directory.nodeConfigPath(1))).limits;
  };

  expect(await configured(3 * 1024 * 1024)).toEqual({ snapshotLogBytes: 3 * 1024 * 1024 });
  expect(await configured(undefined)).toBeUndefined();
});

test('a product that cannot be loaded never becomes that of the cluster', async () => {
  const wrong = { ...options, dir: folder, product: join(folder, 'typo.mjs') };

  await expect(runUp(wrong, silence)).rejects.toMatchObject({ code: 'CLUSTOR_INVALID_ARGUMENT' });
  expect(readdirSync(folder)).not.toContain('cluster.json');
});

test.each(['', '{"up":1,"nodes":[{"nodeId":1,"p', '{"nodes":7}', 'null'])(
  'a second up names who has the folder where processes.json is %j',
  async (text) => {
    const lock = await lockDirectory(folder);
    onTestFinished(() => lock.release());
    writeFileSync(join(folder, 'processes.json'), text);

    await expect(runUp({ ...options, dir: folder }, silence)).rejects.toMatchObject({
      code: 'CLUSTOR_DATA_DIRECTORY_LOCKED',
      message: expect.stringContaining('no node yet'),
    });
  },
);

test('who runs is written in the place of what was written before', async () => {
  const nodes = [{ nodeId: 1, pid: 4711 }];
  writeFileSync(join(folder, 'processes.json'), '{"nodes":');

  recordProcesses(folder, nodes);

  expect(await recordedProcesses(folder)).toEqual(nodes);
  expect(readdirSync(folder)).toEqual(['processes.json']);
});

test('where who runs cannot be written nothing else is lost', async () => {
  mkdirSync(join(folder, 'processes.json.new'));

  recordProcesses(folder, [{ nodeId: 1, pid: 4711 }]);

  expect(await recordedProcesses(folder)).toEqual([]);
});
