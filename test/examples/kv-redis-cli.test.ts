/** The store as people meet it: through redis-cli (Debian package redis-tools). */
import { spawn, spawnSync } from 'node:child_process';
import { text } from 'node:stream/consumers';

import { silentObserver } from 'clustor';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { KvMachine } from '../../examples/kv/kv-machine.ts';
import { encodeRequest } from '../../examples/kv/redis-protocol.ts';
import { product } from '../../examples/kv/product.ts';
import { RedisServer } from '../../examples/kv/redis-server.ts';
import { MemoryPartition } from './kv-partition.ts';

let server: RedisServer;

beforeAll(async () => {
  const { status } = spawnSync('redis-cli', ['--version']);
  if (status !== 0) throw new Error('these tests need redis-cli: install redis-tools');
  const machine = product.createStateMachine(new MemoryPartition(new KvMachine()).partitionId);
  const partition = new MemoryPartition(machine);
  server = await RedisServer.open({
    partition,
    port: 0,
    observer: silentObserver,
    replication: () => ({
      nodeId: 1,
      role: 'leader',
      leaderId: 1,
      leaderAddress: undefined,
      term: 1,
      commitIndex: 0,
      appliedIndex: 0,
    }),
  });
});

afterAll(() => server.close());

async function run(command: string, words: readonly string[], input = ''): Promise<string> {
  const child = spawn(command, ['-p', server.port.toString(), ...words]);
  child.stdin.end(input, 'latin1');
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return (output + errors).trimEnd();
}

function cli(words: readonly string[], input = ''): Promise<string> {
  return run('redis-cli', words, input);
}

test('single commands', async () => {
  expect(await cli(['set', 'a', '1'])).toBe('OK');
  expect(await cli(['get', 'a'])).toBe('1');
  expect(await cli(['-3', 'mget', 'a', 'none'])).toBe('1');
  expect(await cli(['--no-raw', 'mget', 'a', 'none'])).toBe('1) "1"\n2) (nil)');
  expect(await cli(['--no-raw', 'incr', 'a'])).toBe('(integer) 2');
  expect(await cli(['nope'])).toContain("ERR unknown command 'nope'");
});

test('a session on standard input', async () => {
  expect(await cli([], 'set s 1\nappend s 2\nget s\ncommand count\n')).toMatch(/^OK\n2\n12\n\d+$/);
});

test('a bulk load with --pipe, counted by a scan', async () => {
  const keyCount = 100_000;
  let input = '';
  for (let number = 0; number < keyCount; number++) {
    input += encodeRequest(['SET', `pipe:${number}`, `value ${number}`]);
  }

  const startedAtMs = performance.now();
  const output = await cli(['--pipe'], input);
  const tookMs = performance.now() - startedAtMs;
  const scanned = await cli(['--scan', '--pattern', 'pipe:*9']);

  expect(output).toContain(`errors: 0, replies: ${keyCount}`);
  expect(scanned.split('\n')).toHaveLength(keyCount / 10);
  expect(tookMs).toBeLessThan(10_000);
});

test('redis-benchmark runs its usual commands', async () => {
  const words = ['-q', '-n', '2000', '-P', '16', '-t', 'ping,set,get,incr,mset', '--csv'];

  const output = await run('redis-benchmark', words);

  expect(output).toContain('"SET"');
  expect(output).not.toMatch(/error/i);
});
