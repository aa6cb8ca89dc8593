import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

import type { Redis } from 'ioredis';
import { expect, test } from 'vitest';

import { digestOfPairs } from '../../examples/kv/kv-digest.ts';
import { contentOf, redisAt } from './support/redis-client.ts';
import { scratchDirectory, UpProcess, type UpNode } from './support/up-process.ts';

const wordsFile = '/usr/share/dict/words';
const wordCount = 20_000;
const lanes = 8;
const pipelined = 16;
const readAtOnce = 1000;

/** Words of the machine's list, else made-up ones. */
function words(): readonly string[] {
  const text = existsSync(wordsFile) ? readFileSync(wordsFile, 'utf8') : '';
  const found = [...new Set(text.split('\n'))].filter((word) => word !== '');
  while (found.length < wordCount) found.push(`word-${found.length}`);
  const step = Math.floor(found.length / wordCount);
  return found.filter((_, at) => at % step === 0).slice(0, wordCount);
}

function setCommand(key: string, value: string): string {
  const parts = ['SET', key, value].map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`);
  return `*3\r\n${parts.join('')}`;
}

function redisPort(node: UpNode | undefined): string {
  const address = node?.product['redis'] ?? '';
  return address.slice(address.lastIndexOf(':') + 1);
}

/** Writes as fast as answers come and notes what was acknowledged, until the connection breaks. */
class LoadRecorder {
  readonly acknowledged = new Map<string, string>();
  readonly attempted = new Map<string, string>();

  async write(client: Redis, lane: number): Promise<void> {
    for (let count = 0; ; count += pipelined) {
      const answers = Array.from({ length: pipelined }, async (_, at) => {
        const key = `lane:${lane}:${count + at}`;
        const value = `value ${count + at} of ${lane}`;
        this.attempted.set(key, value);
        if ((await client.set(key, value)) === 'OK') this.acknowledged.set(key, value);
      });
      const ends = await Promise.allSettled(answers);
      if (ends.some(({ status }) => status === 'rejected')) return;
    }
  }
}

async function valuesOf(client: Redis, keys: readonly string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (let start = 0; start < keys.length; start += readAtOnce) {
    const some = keys.slice(start, start + readAtOnce);
    const values = await client.mget(...some);
    for (const [at, key] of some.entries()) {
      const value = values[at];
      if (typeof value === 'string') found.set(key, value);
    }
  }
  return found;
}

function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}

test('whatever was acknowledged is on every node after kill -9 of all of them under load', async () => {
  const up = UpProcess.start(scratchDirectory('kv'), ['--example', 'kv']);
  const nodes = await up.ready();
  const loaded = new Map(words().map((word, at) => [word, `value ${at}`]));

  const pipe = spawnSync('redis-cli', ['-p', redisPort(nodes[0]), '--pipe'], {
    input: [...loaded].map(([key, value]) => setCommand(key, value)).join(''),
    encoding: 'utf8',
  });
  expect(pipe.stdout).toContain(`errors: 0, replies: ${wordCount}`);
  expect(pipe.status).toBe(0);

  const recorder = new LoadRecorder();
  const writers: Promise<void>[] = [];
  for (let lane = 0; lane < lanes; lane++) {
    const client = await redisAt(nodes[lane % nodes.length]?.product['redis'] ?? '');
    writers.push(recorder.write(client, lane));
  }
  await new Promise((wake) => setTimeout(wake, 1500));
  for (const { pid } of up.nodes) process.kill(pid, 'SIGKILL');
  await Promise.all(writers);
  expect(recorder.acknowledged.size).toBeGreaterThan(lanes * pipelined);
  await up.until('all are back', () => up.of('nodeReady').length >= nodes.length);

  // Attempts without an answer may have happened or not, but equally everywhere.
  const wanted = new Map([...loaded, ...recorder.acknowledged]);
  const asked = [...loaded.keys(), ...recorder.attempted.keys()];
  for (const node of up.nodes) {
    const client = await redisAt(node.product['redis'] ?? '');
    const found = await valuesOf(client, asked);
    const lost = [...wanted].filter(([key, value]) => found.get(key) !== value);
    expect(lost).toEqual([]);
    const pairs = [...found].map(([key, value]) => [latin1(key), latin1(value)] as const);
    const expected = digestOfPairs(pairs);
    expect(await client.dbsize()).toBe(expected.count);
    expect(await contentOf(client)).toEqual({ count: expected.count, hash: expected.hex });
  }
});
