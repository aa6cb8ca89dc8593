import { expect, test } from 'vitest';

import { redisAt } from './support/redis-client.ts';
import { eventually, isAlive, scratchDirectory, UpProcess } from './support/up-process.ts';

test('a second up on a live directory names the running processes and exits with 5', async () => {
  const directory = scratchDirectory('up');
  const nodes = await UpProcess.start(directory).ready();

  const second = UpProcess.start(directory);
  const end = await second.exited;

  expect(end).toEqual({ code: 5, signal: null });
  expect(second.errorText).toContain('CLUSTOR_DATA_DIRECTORY_LOCKED');
  for (const { pid } of nodes) expect(second.errorText).toContain(String(pid));
  for (const { pid } of nodes) expect(isAlive(pid)).toBe(true);
});

test('Ctrl-C stops every process and exits with 0; the next up has the state', async () => {
  const directory = scratchDirectory('up');
  const up = UpProcess.start(directory, ['--example', 'kv']);
  const nodes = await up.ready();
  const before = await redisAt(nodes[0]?.product['redis'] ?? '');
  expect(await before.set('color', 'green')).toBe('OK');

  const end = await up.stop();

  expect(end).toEqual({ code: 0, signal: null });
  expect(up.of('stopped')).toHaveLength(1);
  expect(nodes.filter(({ pid }) => isAlive(pid))).toEqual([]);

  const again = await UpProcess.start(directory).ready();
  expect(again.map(({ address }) => address)).toEqual(nodes.map(({ address }) => address));
  for (const node of again) {
    const client = await redisAt(node.product['redis'] ?? '');
    expect(await client.get('color')).toBe('green');
  }
});

test('a killed node is started again after a second', async () => {
  const up = UpProcess.start(scratchDirectory('up'));
  const [victim] = await up.ready();
  const killedMs = performance.now();
  process.kill(victim?.pid ?? 0, 'SIGKILL');

  await up.until('the node is back', () => up.of('nodeReady').length > 0);

  const backMs = performance.now() - killedMs;
  expect(backMs).toBeGreaterThan(1000);
  expect(backMs).toBeLessThan(10_000);
  expect(up.of('nodeExited')).toMatchObject([{ nodeId: victim?.nodeId, pid: victim?.pid }]);
  expect(up.of('nodeReady')[0]?.node.nodeId).toBe(victim?.nodeId);
});

test('--no-restart leaves a killed node dead', async () => {
  const up = UpProcess.start(scratchDirectory('up'), ['--no-restart']);
  const [victim] = await up.ready();
  process.kill(victim?.pid ?? 0, 'SIGKILL');
  await up.until('the end is reported', () => up.of('nodeExited').length > 0);

  await new Promise((wake) => setTimeout(wake, 2000));

  expect(up.of('nodeReady')).toEqual([]);
});

test('nodes stop when up itself is killed, and the directory can be used again', async () => {
  const directory = scratchDirectory('up');
  const up = UpProcess.start(directory);
  const nodes = await up.ready();

  up.signal('SIGKILL');
  await up.exited;
  await eventually('the nodes are gone', () => nodes.every(({ pid }) => !isAlive(pid)));

  const again = await UpProcess.start(directory).ready();
  expect(again).toHaveLength(3);
});
