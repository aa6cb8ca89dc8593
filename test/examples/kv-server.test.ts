import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';

import { ClustorError, silentObserver } from 'clustor';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { digestOfPairs } from '../../examples/kv/kv-digest.ts';
import { KvMachine } from '../../examples/kv/kv-machine.ts';
import { commandTable } from '../../examples/kv/redis-commands.ts';
import { queuedCommandsMax } from '../../examples/kv/redis-connection.ts';
import { encodeRequest } from '../../examples/kv/redis-protocol.ts';
import { connectionCountMax, RedisServer } from '../../examples/kv/redis-server.ts';
import { MemoryPartition } from './kv-partition.ts';

let partition: MemoryPartition;
let server: RedisServer;
let redis: Redis;

beforeEach(async () => {
  partition = new MemoryPartition(new KvMachine());
  server = await RedisServer.open({
    partition,
    port: 0,
    observer: silentObserver,
    replication: () => ({
      nodeId: 1,
      role: 'leader',
      leaderId: 1,
      leaderAddress: '127.0.0.1:7001',
      term: 7,
      commitIndex: 42,
      appliedIndex: 41,
    }),
  });
  redis = new Redis({ port: server.port, host: '127.0.0.1', retryStrategy: () => null });
  redis.on('error', () => undefined);
});

afterEach(async () => {
  redis.disconnect();
  await server.close();
});

async function open(): Promise<Socket> {
  const socket = connect(server.port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

/** Sends bytes and collects what comes back until the server closes or `length` bytes came. */
async function exchange(bytes: string, length = Infinity): Promise<string> {
  const socket = await open();
  let text = '';
  socket.write(bytes, 'latin1');
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    text += chunk.toString('latin1');
    if (text.length >= length) break;
  }
  socket.destroy();
  return text;
}

/** Sends requests and a QUIT behind them. */
function pipeline(...requests: readonly (readonly string[])[]): Promise<string> {
  return exchange([...requests, ['QUIT']].map(encodeRequest).join(''));
}

describe('commands', () => {
  test('SET and GET, with NX, XX and GET', async () => {
    expect(await redis.set('a', '1')).toBe('OK');
    expect(await redis.get('a')).toBe('1');
    expect(await redis.set('a', '2', 'NX')).toBeNull();
    expect(await redis.set('b', '2', 'XX')).toBeNull();
    expect(await redis.set('a', '3', 'XX', 'GET')).toBe('1');
    expect(await redis.mget('a', 'b')).toEqual(['3', null]);
    await expect(redis.call('SET', 'a', '1', 'EX', '5')).rejects.toThrow('ERR syntax error');
    await expect(redis.call('SET', 'a', '1', 'NX', 'XX')).rejects.toThrow('ERR syntax error');
  });

  test('counters', async () => {
    expect(await redis.incr('n')).toBe(1);
    expect(await redis.incrby('n', 41)).toBe(42);
    expect(await redis.decr('n')).toBe(41);
    expect(await redis.decrby('n', 42)).toBe(-1);
    await expect(redis.incrby('n', '1.5')).rejects.toThrow('ERR value is not an integer');
    await redis.set('text', 'x');
    await expect(redis.incr('text')).rejects.toThrow('ERR value is not an integer');
    await expect(redis.decrby('n', '-9223372036854775808')).rejects.toThrow('overflow');
  });

  test('the other commands on keys', async () => {
    expect(await redis.mset('a', '1', 'b', '2')).toBe('OK');
    expect(await redis.append('a', '23')).toBe(3);
    expect(await redis.strlen('a')).toBe(3);
    expect(await redis.exists('a', 'a', 'b', 'c')).toBe(3);
    expect(await redis.type('a')).toBe('string');
    expect(await redis.type('c')).toBe('none');
    expect(await redis.dbsize()).toBe(2);
    expect(await redis.del('a', 'c')).toBe(1);
    expect(await redis.keys('?')).toEqual(['b']);
    await expect(redis.call('MSET', 'a', '1', 'b')).rejects.toThrow('wrong number of arguments');
  });

  test('bytes of any kind go in and come out unharmed', async () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, value) => value));

    await redis.set(bytes, Buffer.concat([bytes, bytes]));

    expect(await redis.getBuffer(bytes)).toEqual(Buffer.concat([bytes, bytes]));
  });

  test('a scan with a pattern finds every matching key', async () => {
    const keys = Array.from({ length: 3_000 }, (_, number) => `key:${number}`);
    await redis.mset(keys.flatMap((key) => [key, '']));

    const found = new Set<string>();
    let cursor = '0';
    do {
      const step = await redis.scan(cursor, 'MATCH', 'key:*5', 'COUNT', 100);
      for (const key of step[1]) found.add(key);
      cursor = step[0];
    } while (cursor !== '0');

    expect(found.size).toBe(300);
    await expect(redis.call('SCAN', 'x')).rejects.toThrow('ERR invalid cursor');
    await expect(redis.call('SCAN', '0', 'COUNT', '0')).rejects.toThrow('ERR syntax error');
  });

  test('CLUSTOR.DIGEST answers what an auditor computes from the pairs', async () => {
    await redis.mset('a', '1', 'b', '2');

    const answer = await redis.call('CLUSTOR.DIGEST');

    const { count, hex } = digestOfPairs([
      ['b', '2'],
      ['a', '1'],
    ]);
    expect(answer).toEqual([count, hex]);
  });

  test('INFO tells role, leader, positions and keys, all of it or by section', async () => {
    await redis.set('a', '1');

    const all = await redis.info();
    const keyspace = await redis.info('keyspace');

    for (const line of [
      'role:leader',
      'leader_address:127.0.0.1:7001',
      'term:7',
      'commit_index:42',
      'applied_index:41',
    ]) {
      expect(all).toContain(`${line}\r\n`);
    }
    expect(keyspace).toBe('# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n');
  });

  test('COMMAND describes every command', async () => {
    const count = (await redis.call('COMMAND', 'COUNT')) as number;
    const rows = (await redis.call('COMMAND')) as unknown[][];
    const docs = (await redis.call('COMMAND', 'DOCS', 'get')) as unknown[];

    expect(rows).toHaveLength(count);
    expect(rows.find(([name]) => name === 'mset')?.slice(0, 6)).toEqual([
      'mset',
      -3,
      ['write'],
      1,
      -1,
      2,
    ]);
    expect(docs[0]).toBe('get');
  });

  test('what clients ask about themselves and the server is answered', async () => {
    expect(await redis.client('SETNAME', 'me')).toBe('OK');
    expect(await redis.client('GETNAME')).toBe('me');
    expect(await redis.client('ID')).toBeGreaterThan(0);
    expect(await redis.select(0)).toBe('OK');
    await expect(redis.select(1)).rejects.toThrow('ERR DB index is out of range');
    expect(await redis.config('GET', 'save')).toEqual(['save', '']);
    expect(await redis.ping()).toBe('PONG');
    expect(await redis.ping('x')).toBe('x');
    expect(await redis.echo('x')).toBe('x');
  });

  test('unknown commands and wrong numbers of arguments are told as Redis tells them', async () => {
    await expect(redis.call('NOPE', 'a', 'b')).rejects.toThrow(
      "ERR unknown command 'NOPE', with args beginning with: 'a' 'b' ",
    );
    await expect(redis.call('GET')).rejects.toThrow(
      "ERR wrong number of arguments for 'get' command",
    );
  });

  test('a command too large for an entry is refused before it is appended', async () => {
    const half = 'x'.repeat(500_000);

    await expect(redis.mset('a', half, 'b', half)).rejects.toThrow('ERR the command exceeds');
    expect(partition.entries).toEqual([]);
  });
});

describe('protocol', () => {
  test('HELLO 3 changes the form of what follows and HELLO 2 changes it back', async () => {
    const text = await pipeline(
      ['GET', 'a'],
      ['HELLO', '3'],
      ['GET', 'a'],
      ['HELLO', '2'],
      ['GET', 'a'],
      ['HELLO', '4'],
    );

    expect(text.startsWith('$-1\r\n%7\r\n')).toBe(true);
    expect(text).toContain('\r\n_\r\n*14\r\n');
    expect(text.endsWith('$-1\r\n-NOPROTO unsupported protocol version\r\n+OK\r\n')).toBe(true);
  });

  test('inline commands work', async () => {
    expect(await exchange('SET a "x y"\r\nGET a\nQUIT\r\n')).toBe('+OK\r\n$3\r\nx y\r\n+OK\r\n');
  });

  test('a protocol error is answered behind the earlier replies and ends the connection', async () => {
    const text = await exchange(
      `${encodeRequest(['SET', 'a', '1'])}*1\r\n!\r\n${encodeRequest(['SET', 'a', '2'])}`,
    );

    expect(text).toBe("+OK\r\n-ERR Protocol error: expected '$', got '!'\r\n");
    expect(await redis.get('a')).toBe('1');
  });

  test('nothing of an HTTP request is carried out', async () => {
    const text = await exchange('POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a 1\r\n');

    expect(text).toMatch(/^-ERR Protocol error/);
    expect(partition.entries).toEqual([]);
  });

  test('requests that came before the client closed its side are still answered', async () => {
    const socket = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
    socket.end(encodeRequest(['SET', 'a', '1']) + encodeRequest(['GET', 'a']));

    let text = '';
    for await (const chunk of socket as AsyncIterable<Buffer>) text += chunk.toString('latin1');

    expect(text).toBe('+OK\r\n$1\r\n1\r\n');
  });

  test('one connection too many is told so', async () => {
    const sockets = await Promise.all(Array.from({ length: connectionCountMax }, open));

    const text = await exchange('PING\r\n');

    expect(text).toBe('-ERR max number of clients reached\r\n');
    for (const socket of sockets) socket.destroy();
  });

  test('a taken port is an error with a code', async () => {
    const options = { partition, port: server.port, observer: silentObserver };
    const opening = RedisServer.open({ ...options, replication: () => expect.fail('not asked') });

    await expect(opening).rejects.toMatchObject({ code: 'CLUSTOR_INVALID_ARGUMENT' });
  });
});

describe('order', () => {
  test('in a pipeline a read sees the writes before it and none behind it', async () => {
    const text = await pipeline(
      ['SET', 'a', '1'],
      ['GET', 'a'],
      ['SET', 'a', '2'],
      ['INCR', 'a'],
      ['GET', 'a'],
      ['DBSIZE'],
      ['DEL', 'a'],
      ['EXISTS', 'a'],
    );

    expect(text).toBe('+OK\r\n$1\r\n1\r\n+OK\r\n:3\r\n$1\r\n3\r\n:1\r\n:1\r\n:0\r\n+OK\r\n');
  });

  test('the next run of a connection waits for the one before, so that a retry cannot overtake', async () => {
    let underWay = 0;
    let underWayMost = 0;
    partition.beforeAppend = async () => {
      underWayMost = Math.max(underWayMost, ++underWay);
      await setTimeout(Math.random() * 3);
      underWay--;
    };
    const appends = Array.from({ length: 3_000 }, (_, number) => ['APPEND', 'log', `${number},`]);

    await pipeline(...appends);

    expect(underWayMost).toBe(1);
    expect(await redis.get('log')).toBe(appends.map(([, , text]) => text).join(''));
  });

  test('connections do not wait for each other', async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    partition.beforeAppend = () => held;
    const slow = redis.set('a', '1');
    const other = redis.duplicate();
    await other.get('b');

    partition.beforeAppend = () => Promise.resolve();

    expect(await other.set('c', '1')).toBe('OK');
    release();
    expect(await slow).toBe('OK');
    other.disconnect();
  });

  test('random pipelines on several connections end as if each had run alone', async () => {
    const connections = await Promise.all(
      Array.from({ length: 5 }, async (_, number) => {
        const requests: string[][] = [];
        let expected = '';
        let value = '';
        for (let step = 0; step < 400; step++) {
          const key = `k${number}`;
          if (step % 7 === 3) {
            requests.push(['GET', key]);
            expected += `$${value.length}\r\n${value}\r\n`;
          } else if (step % 11 === 5) {
            requests.push(['SET', key, '']);
            value = '';
            expected += '+OK\r\n';
          } else {
            requests.push(['APPEND', key, 'x']);
            value += 'x';
            expected += `:${value.length}\r\n`;
          }
        }
        return { text: await pipeline(...requests), expected: `${expected}+OK\r\n` };
      }),
    );

    for (const { text, expected } of connections) expect(text).toBe(expected);
  });
});

describe('packing', () => {
  test('the reads of a pipeline share one linearizable read', async () => {
    await pipeline(...Array.from({ length: 100 }, () => ['GET', 'a']));

    expect(partition.readCount).toBe(1);
  });

  test('a long pipeline of writes needs few entries', async () => {
    const sets = Array.from({ length: 10_000 }, (_, number) => ['SET', `k${number}`, 'v']);

    const text = await pipeline(...sets);

    expect(text).toBe('+OK\r\n'.repeat(10_001));
    expect(partition.entries.length).toBeLessThan(60);
    expect(await redis.dbsize()).toBe(10_000);
  });

  test('commands of many connections in one turn share entries', async () => {
    const clients = Array.from({ length: 20 }, () => redis.duplicate());
    await Promise.all(clients.map((client) => client.ping()));

    await Promise.all(clients.map((client) => client.incr('n')));

    expect(partition.entries.length).toBeLessThan(20);
    expect(await redis.get('n')).toBe('20');
    for (const client of clients) client.disconnect();
  });

  test('a SET that answers the old value has an entry to itself', async () => {
    await pipeline(['SET', 'a', '1'], ['SET', 'a', '2', 'GET'], ['SET', 'a', '3', 'GET']);

    expect(partition.entries).toHaveLength(3);
  });
});

describe('bounds', () => {
  test('a client that sends without reading is not read without end', async () => {
    await redis.set('a', 'x'.repeat(100_000));
    const socket = await open();
    socket.pause();
    const request = encodeRequest(['GET', 'a']).repeat(1_000);
    const readsBefore = partition.readCount;

    for (let sent = 0; sent < 200; sent++) socket.write(request, 'latin1');
    await setTimeout(300);
    const readsMeanwhile = partition.readCount - readsBefore;

    // 200,000 answers of 100 kB would be 20 GB; some runs of about 1 MB fill the buffers of both sides.
    expect(readsMeanwhile).toBeLessThan(200);
    expect(await redis.ping()).toBe('PONG');
    socket.destroy();
  });

  test('more requests than may wait are all answered in the end', async () => {
    const pings = Array.from({ length: 4 * queuedCommandsMax }, (_, number) => [
      'ECHO',
      `${number}`,
    ]);
    const mixed = pings.flatMap((ping) => [ping, ['INCR', 'n']]).slice(0, 3 * queuedCommandsMax);

    const text = await pipeline(...mixed);

    expect(text.split('\r\n').length).toBeGreaterThan(mixed.length);
    expect(await redis.get('n')).toBe(`${mixed.length / 2}`);
  });
});

describe('failures', () => {
  test.each([
    ['CLUSTOR_NO_LEADER', 'NOLEADER', 'surelyNot'],
    ['CLUSTOR_DEADLINE_EXCEEDED', 'UNKNOWNOUTCOME', 'unknown'],
    ['CLUSTOR_APPLY_FAULT', 'COMMITTED', 'committed'],
  ] as const)('a write that fails with %s is answered with %s', async (code, word, outcome) => {
    partition.failure = new ClustorError(code, 'so it is');

    await expect(redis.set('a', '1')).rejects.toThrow(
      `${word} ${code}: so it is (outcome: ${outcome})`,
    );
  });

  test('a read that fails had no effect, whatever the code', async () => {
    partition.failure = new ClustorError('CLUSTOR_DEADLINE_EXCEEDED', 'so it is');

    await expect(redis.get('a')).rejects.toThrow(
      'DEADLINEEXCEEDED CLUSTOR_DEADLINE_EXCEEDED: so it is (outcome: surelyNot)',
    );
    await expect(redis.call('CLUSTOR.DIGEST')).rejects.toThrow('DEADLINEEXCEEDED');
  });

  test('an error that has no code is an unknown outcome', async () => {
    partition.failure = new Error('odd');

    await expect(redis.set('a', '1')).rejects.toThrow('UNKNOWNOUTCOME CLUSTOR_INTERNAL: odd');
  });

  test('the connection goes on behind a failure', async () => {
    partition.failure = new ClustorError('CLUSTOR_NO_LEADER', 'so it is');
    await expect(redis.set('a', '1')).rejects.toThrow('NOLEADER');
    partition.failure = undefined;

    expect(await redis.set('a', '1')).toBe('OK');
  });
});

describe('closing', () => {
  test('what came before the close is answered', async () => {
    partition.beforeAppend = () => setTimeout(100);
    const answer = redis.set('a', '1');
    await setTimeout(30);

    await server.close();

    expect(await answer).toBe('OK');
  });

  test('a command that never ends does not hold up the close', async () => {
    partition.beforeAppend = () => new Promise(() => undefined);
    redis.set('a', '1').catch(() => undefined);
    await setTimeout(30);

    await server.close();
    await server.close();

    expect(partition.entries).toEqual([]);
  });
});

test('the guide names every command', () => {
  const guide = readFileSync(new URL('../../docs/guide/kv.md', import.meta.url), 'utf8');
  const commands = guide.slice(guide.indexOf('## Commands'), guide.indexOf('## Errors'));

  const missing = [...commandTable.keys()].filter(
    (name) => !new RegExp(`\`${name.toUpperCase()}[\` ]`).test(commands),
  );

  expect(missing).toEqual([]);
});
