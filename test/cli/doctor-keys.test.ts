/** What the doctor says of the keys of a node, wherever its key-encryption key is. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { clusterId } from '../../src/base/ids.ts';
import { ClusterDirectory } from '../../src/cli/cluster-directory.ts';
import { runDoctor } from '../../src/cli/doctor-command.ts';
import { exitCodes } from '../../src/cli/exit-codes.ts';
import type { KeyOptions } from '../../src/cli/key-options.ts';
import { initializeReplicas } from '../../src/open-node.ts';
import type { Output } from '../../src/cli/output.ts';
import { readConfig, type NodeConfig } from '../../src/cli/node-config.ts';

let folder: string;
let config: NodeConfig;
let path: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'clustor-doctor-'));
  const directory = new ClusterDirectory(join(folder, 'cluster'));
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
      isEncrypted: true,
    },
    Date.now(),
  );
  await directory.issueCertificates(cluster, Date.now());
  path = directory.nodeConfigPath(1);
  config = await readConfig(path);
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

/** The key file that `clustor up` made for the node. */
function kekFile(): string {
  return join(dirname(path), config.encryption?.kekFile ?? '');
}

/** Writes the configuration of the node with other words about its key, under a name of its own. */
function configured(encryption: NodeConfig['encryption']): string {
  const own = join(folder, 'node-1.json');
  const text = JSON.parse(readFileSync(path, 'utf8')) as object;
  writeFileSync(own, JSON.stringify({ ...text, ...config, encryption }));
  return own;
}

/** The row about keys, and whether a node would start. */
async function keysOf(
  subject: string,
  options: KeyOptions = {},
): Promise<{ readonly code: number; readonly verdict: string; readonly text: string }> {
  const told: { sections?: readonly { readonly findings: readonly object[] }[] } = {};
  const output: Output = {
    isJson: true,
    result: (value) => void Object.assign(told, value),
    note: () => undefined,
    progress: () => undefined,
    error: () => undefined,
  };
  const code = await runDoctor(subject, output, options);
  const rows = (told.sections ?? []).flatMap(({ findings }) => findings) as {
    finding: string;
    verdict: string;
    text: string;
  }[];
  const keys = rows.find(({ finding }) => finding === 'Keys');
  return { code, verdict: keys?.verdict ?? 'not looked at', text: keys?.text ?? '' };
}

test('the keys of a node open with the file that its configuration names', async () => {
  expect(await keysOf(path)).toEqual({
    code: exitCodes.done,
    verdict: 'Allow',
    text: 'the keys open, up to epoch 1',
  });
});

test('so they do with a variable that holds the same key, named in the configuration or as an option', async () => {
  const file = JSON.parse(readFileSync(kekFile(), 'utf8')) as {
    readonly keys: readonly { readonly id: string; readonly key: string }[];
  };
  const [{ id, key } = { id: '', key: '' }] = file.keys;
  vi.stubEnv('CLUSTOR_TEST_KEK', `${id}:${key}`);

  expect(await keysOf(configured({ kekEnvironment: 'CLUSTOR_TEST_KEK' }))).toMatchObject({
    code: exitCodes.done,
    verdict: 'Allow',
  });
  expect(await keysOf(configured(undefined), { kekEnv: 'CLUSTOR_TEST_KEK' })).toMatchObject({
    verdict: 'Allow',
  });
});

test('another key, a variable that is not set, a Vault that is not there, and none at all stop a node', async () => {
  vi.stubEnv('CLUSTOR_TEST_KEK', `kek-1:${randomBytes(32).toString('hex')}`);
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, 'a-token', { mode: 0o600 });
  const vault = { address: 'http://127.0.0.1:9', key: 'clustor', tokenFile };

  for (const [encryption, told] of [
    [{ kekEnvironment: 'CLUSTOR_TEST_KEK' }, 'the keys do not open'],
    [{ kekEnvironment: 'CLUSTOR_TEST_NOT_SET' }, 'CLUSTOR_TEST_NOT_SET'],
    [{ vault }, '127.0.0.1:9'],
    [undefined, 'no key provider was named'],
  ] as const)
    expect(await keysOf(configured(encryption)), told).toEqual({
      code: exitCodes.failed,
      verdict: 'Reject',
      text: expect.stringContaining(told) as string,
    });
});

test('a key is tried although nothing is encrypted yet', async () => {
  const bare = { ...config, dataDirectory: join(folder, 'bare') };
  await initializeReplicas({
    directory: bare.dataDirectory,
    clusterId: clusterId(config.clusterId),
    nodeId: 1,
    partitions: [],
  });
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, 'a-token', { mode: 0o600 });
  const own = configured({ vault: { address: 'http://127.0.0.1:9', key: 'clustor', tokenFile } });
  const text = JSON.parse(readFileSync(own, 'utf8')) as object;
  writeFileSync(own, JSON.stringify({ ...text, dataDirectory: bare.dataDirectory }));

  expect(await keysOf(own)).toMatchObject({
    verdict: 'Reject',
    text: expect.stringContaining('127.0.0.1:9') as string,
  });
});

test('a data directory alone is tried with a key that is named', async () => {
  const { dataDirectory: bare } = config;

  expect(await keysOf(bare)).toMatchObject({ verdict: 'not looked at' });
  expect(await keysOf(bare, { kekFile: kekFile() })).toMatchObject({ verdict: 'Allow' });
  expect(await keysOf(folder, { kekFile: kekFile() })).toMatchObject({
    verdict: 'Warn',
    text: 'there is nothing that the key could open',
  });
});

test('a node without keys is worth a look, one whose keys are still to come is well', async () => {
  const bare = { ...config, dataDirectory: join(folder, 'bare') };
  const one = configured(undefined);
  writeFileSync(one, JSON.stringify({ ...bare, encryption: undefined }));
  await initializeReplicas({
    directory: bare.dataDirectory,
    clusterId: clusterId(config.clusterId),
    nodeId: 1,
    partitions: [],
  });

  expect(await keysOf(one)).toMatchObject({ verdict: 'Warn' });
  writeFileSync(one, JSON.stringify({ ...bare, encryption: { kekFile: kekFile() } }));
  expect(await keysOf(one)).toMatchObject({
    verdict: 'Allow',
    text: 'the key can be had; the next start makes keys under it',
  });
});
