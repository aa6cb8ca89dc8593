/** Input at the bounds of a connection: longer pipelines than may wait, longer patterns than are matched. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setImmediate, setTimeout } from 'node:timers/promises';

import { silentObserver } from 'clustor';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { KvMachine } from '../../examples/kv/kv-machine.ts';
import { queuedCommandsMax, RedisConnection } from '../../examples/kv/redis-connection.ts';
import { connectionCountMax, RedisServer } from '../../examples/kv/redis-server.ts';
import { MemoryPartition } from './kv-partition.ts';

let server: RedisServer;

beforeEach(async () => {
  server = await RedisServer.open({
    partition: new MemoryPartition(new KvMachine()),
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

afterEach(() => server.close());

test.each([
  { what: 'answered at once', line: 'PING', reply: '+PONG' },
  { what: 'written', line: 'SET a 1', reply: '+OK' },
  { what: 'read', line: 'GET a', reply: '$-1' },
])('a long pipeline of requests that are $what is answered behind a half-close', async (row) => {
  // Short enough for one chunk, with which the end comes, and long enough that not all of it may wait.
  const count = queuedCommandsMax + 2_000;
  const socket = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
  socket.end(`${row.line}\r\n`.repeat(count), 'latin1');

  let text = '';
  for await (const chunk of socket as AsyncIterable<Buffer>) text += chunk.toString('latin1');

  expect(text).toBe(`${row.reply}\r\n`.repeat(count));
});

test('two chunks that come in one go are both answered', async () => {
  const written: Buffer[] = [];
  const socket = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      written.push(chunk);
      done();
    },
  });
  Object.assign(socket, { setNoDelay: () => socket, destroySoon: () => socket.destroy() });
  socket.push('PING\r\n');
  socket.push('PING\r\n');

  new RedisConnection(socket as unknown as Socket, server, 1);
  await setImmediate();

  expect(Buffer.concat(written).toString()).toBe('+PONG\r\n+PONG\r\n');
  socket.destroy();
});

test('a pattern that is too long is refused', async () => {
  const redis = new Redis({ port: server.port, host: '127.0.0.1' });
  const pattern = '?'.repeat(1_025);

  for (const request of [['KEYS'], ['SCAN', '0', 'MATCH'], ['CONFIG', 'GET']])
    await expect(redis.call(...(request as [string]), pattern)).rejects.toThrow(
      'ERR the pattern exceeds 1024 bytes',
    );
  expect(await redis.keys('?'.repeat(1_024))).toEqual([]);
  redis.disconnect();
});

describe('a client that is refused and never closes its half', () => {
  let sockets: Socket[];

  const open = async (): Promise<Socket> => {
    const socket = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    sockets.push(socket);
    return socket;
  };

  beforeEach(async () => {
    sockets = [];
    for (let count = 0; count < connectionCountMax; count++) await open();
  });

  afterEach(() => {
    for (const socket of sockets) socket.destroy();
  });

  test('is closed by the server', async () => {
    const refused = await open();
    const [text] = (await once(refused, 'data')) as [Buffer];

    // Once nobody is there to take it, a write fails.
    const failed = once(refused, 'error').then(() => 'failed');
    const writing = setInterval(() => refused.write('PING\r\n'), 50);
    const outcome = await Promise.race([failed, setTimeout(5_000, 'written')]);
    clearInterval(writing);

    expect(outcome).toBe('failed');
    expect(text.toString()).toBe('-ERR max number of clients reached\r\n');
  });

  test('does not keep the server from closing', async () => {
    const refused = await open();
    await once(refused, 'data');

    const closed = server.close().then(() => 'closed');

    expect(await Promise.race([closed, setTimeout(5_000, 'open')])).toBe('closed');
  });
});
