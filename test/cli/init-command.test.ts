/** What `clustor init` takes, and what it leaves behind when it fails. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { beforeEach, expect, onTestFinished, test } from 'vitest';

import { runInit, type InitOptions } from '../../src/cli/init-command.ts';
import type { Output } from '../../src/cli/output.ts';
import { plansOf, votersOf } from '../../src/cli/partition-plans.ts';

const silence: Output = {
  isJson: true,
  result: () => undefined,
  note: () => undefined,
  progress: () => undefined,
  error: () => undefined,
};
const invalid = { code: 'CLUSTOR_INVALID_ARGUMENT' };
const voters = '1=127.0.0.1:7401,2=127.0.0.1:7402';

let folder = '';
let options: InitOptions;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'clustor-init-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  options = { config: configOf(1), plan: join(folder, 'plan.json'), partitions: 1 };
});

function configOf(nodeId: number): string {
  const path = join(folder, `node-${nodeId}.json`);
  const config = {
    clusterId: '018c0d6c-9c11-7e9d-8000-86f5bb8c0001',
    nodeId,
    listen: `127.0.0.1:${7400 + nodeId}`,
    dataDirectory: `data-${nodeId}`,
    certificates: { certificateFile: 'c', privateKeyFile: 'k', trustBundleFile: 't' },
  };
  writeFileSync(path, JSON.stringify(config));
  return path;
}

test.each([
  '1=a:1,1=b:2',
  '1=a:1,2=a:1',
  '0=a:1',
  '1=a:99999',
  '1=a:0',
  '1=a b:1',
  '1',
  '',
  '9007199254740993=a:1',
])('voters %j are refused', (list) => {
  expect(() => votersOf(list)).toThrow(expect.objectContaining(invalid));
});

test.each([0, 10_001])('%d partitions are refused, and no plan is written', async (partitions) => {
  await expect(runInit({ ...options, voters, partitions }, silence)).rejects.toMatchObject(invalid);

  expect(existsSync(options.plan)).toBe(false);
});

test('a plan is shared by its members, and taken once by each', async () => {
  await runInit({ ...options, voters }, silence);
  const plan = readFileSync(options.plan, 'utf8');

  await runInit({ ...options, config: configOf(2) }, silence);

  await expect(runInit(options, silence)).rejects.toMatchObject({
    code: 'CLUSTOR_ALREADY_INITIALIZED',
  });
  expect(readFileSync(options.plan, 'utf8')).toBe(plan);
  expect(JSON.parse(JSON.stringify(plansOf(plan)))).toEqual(JSON.parse(plan));
});

test('a new plan goes again when the replicas cannot be created', async () => {
  const stranger = { ...options, config: configOf(7), voters };

  await expect(runInit(stranger, silence)).rejects.toMatchObject(invalid);

  expect(existsSync(options.plan)).toBe(false);
});

const member = {
  replicaId: 1,
  incarnation: '018c0d6c-9c11-7e9d-8000-86f5bb8c0001',
  nodeId: 1,
  role: 'voter',
  addresses: ['127.0.0.1:7401'],
};
const partitionId = '018c0d6c-9c11-7e9d-8000-86f5bb8c1001';

test.each([
  ['an object', {}],
  ['an empty list', []],
  ['nothing', null],
  ['a partition without members', [{ partitionId: 'x' }]],
  ['a partition id that is none', [{ partitionId: 'x', members: [member] }]],
  ['a partition twice', Array(2).fill({ partitionId, members: [member] })],
  ['a node twice', [{ partitionId, members: [member, member] }]],
  ['a member without a life', [{ partitionId, members: [{ ...member, incarnation: 5 }] }]],
  ['a member without addresses', [{ partitionId, members: [{ ...member, addresses: [] }] }]],
  ['a learner', [{ partitionId, members: [{ ...member, role: 'learner' }] }]],
])('%s is no plan', async (_name, plan) => {
  writeFileSync(options.plan, JSON.stringify(plan));

  await expect(runInit(options, silence)).rejects.toMatchObject(invalid);

  expect(existsSync(join(folder, 'data-1'))).toBe(false);
  expect(existsSync(options.plan)).toBe(true);
});
