import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  decodeEntry,
  decodeResults,
  encodeCommand,
  encodeEntry,
  valueBytesMax,
  type WriteCommand,
} from '../../examples/kv/kv-commands.ts';
import { digestOfPairs } from '../../examples/kv/kv-digest.ts';
import { KvMachine } from '../../examples/kv/kv-machine.ts';
import { bucketCount, KvStore } from '../../examples/kv/kv-store.ts';
import { applyWrite } from '../../examples/kv/kv-writes.ts';
import { applyEntries } from './kv-partition.ts';

const latin1 = (text: string): Uint8Array => Buffer.from(text, 'latin1');

function entryOf(...commands: readonly WriteCommand[]): Uint8Array {
  return encodeEntry(commands.map(encodeCommand));
}

function set(key: string, value: string): WriteCommand {
  return { kind: 'set', key, value, condition: 'always', answersOld: false };
}

function ask(machine: KvMachine, line: string): string {
  return Buffer.from(machine.query(latin1(line))).toString('latin1');
}

async function chunksOf(chunks: AsyncIterable<Uint8Array>): Promise<readonly Uint8Array[]> {
  const collected: Uint8Array[] = [];
  for await (const chunk of chunks) collected.push(chunk);
  return collected;
}

async function* streamOf(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

const bytesArbitrary = fc
  .uint8Array({ maxLength: 20 })
  .map((bytes) => Buffer.from(bytes).toString('latin1'));
const keyArbitrary = fc.oneof(fc.constantFrom('a', 'b', 'c', '', '\x00\xff'), bytesArbitrary);
const commandArbitrary: fc.Arbitrary<WriteCommand> = fc.oneof(
  fc.record({
    kind: fc.constant('set' as const),
    key: keyArbitrary,
    value: bytesArbitrary,
    condition: fc.constantFrom('always' as const, 'ifAbsent' as const, 'ifPresent' as const),
    answersOld: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('delete' as const), keys: fc.array(keyArbitrary) }),
  fc.record({
    kind: fc.constant('increment' as const),
    key: keyArbitrary,
    delta: fc.bigInt({ min: -(2n ** 63n) + 1n, max: 2n ** 63n - 1n }).map(String),
  }),
  fc.record({ kind: fc.constant('append' as const), key: keyArbitrary, value: bytesArbitrary }),
  fc
    .array(fc.tuple(keyArbitrary, bytesArbitrary))
    .map((pairs) => ({ kind: 'setMany' as const, pairs: pairs.flat() })),
);
const entriesArbitrary = fc.array(fc.array(commandArbitrary, { maxLength: 6 }), { maxLength: 20 });

describe('command bytes', () => {
  test('commands come back as they were encoded', () => {
    fc.assert(
      fc.property(fc.array(commandArbitrary), (commands) => {
        const bytes = encodeEntry(commands.map(encodeCommand));

        expect(decodeEntry(bytes, 0, bytes.length)).toEqual(commands);
      }),
    );
  });

  test('any bytes as an entry give an answer and never a thrown error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const machine = new KvMachine();

        expect(applyEntries(machine, [bytes, Uint8Array.of(1, ...bytes)])).toHaveLength(2);
      }),
      { numRuns: 500 },
    );
  });

  test('an entry that is cut off changes nothing', () => {
    const machine = new KvMachine();
    const entry = entryOf(set('a', '1'), set('b', '2'));

    const [result] = applyEntries(machine, [entry.subarray(0, entry.length - 1)]);

    expect(decodeResults(result ?? new Uint8Array())).toMatchObject([{ kind: 'error' }]);
    expect(machine.store.count).toBe(0);
  });
});

describe('writes', () => {
  const one = (store: KvStore, command: WriteCommand): unknown => applyWrite(store, command);

  test('NX sets only an absent key and XX only a present one', () => {
    const store = new KvStore();

    expect(one(store, { ...set('a', '1'), condition: 'ifPresent' } as WriteCommand)).toEqual({
      kind: 'nil',
    });
    expect(one(store, { ...set('a', '2'), condition: 'ifAbsent' } as WriteCommand)).toEqual({
      kind: 'ok',
    });
    expect(one(store, { ...set('a', '3'), condition: 'ifAbsent' } as WriteCommand)).toEqual({
      kind: 'nil',
    });
    expect(store.get('a')).toBe('2');
  });

  test('GET answers the old value whether or not the key was set', () => {
    const store = new KvStore();
    const command = { ...set('a', '1'), condition: 'ifAbsent', answersOld: true } as WriteCommand;

    expect(one(store, command)).toEqual({ kind: 'nil' });
    expect(one(store, command)).toEqual({ kind: 'bulk', bytes: '1' });
  });

  test('a counter is a 64-bit integer and refuses to leave its range', () => {
    const store = new KvStore();
    const increment = (delta: string): unknown =>
      one(store, { kind: 'increment', key: 'n', delta });

    expect(increment('9223372036854775806')).toMatchObject({ digits: '9223372036854775806' });
    expect(increment('1')).toMatchObject({ digits: '9223372036854775807' });
    expect(increment('1')).toMatchObject({ kind: 'error' });
    expect(store.get('n')).toBe('9223372036854775807');
  });

  test.each(['', ' 1', '01', '+1', '1.0', '-0', 'x', '9223372036854775808'])(
    'the value "%s" is not a counter',
    (value) => {
      const store = new KvStore();
      store.set('n', value);

      expect(one(store, { kind: 'increment', key: 'n', delta: '1' })).toEqual({
        kind: 'error',
        text: 'ERR value is not an integer or out of range',
      });
    },
  );

  test('a value does not grow past its maximum', () => {
    const store = new KvStore();
    store.set('a', 'x'.repeat(valueBytesMax));

    expect(one(store, { kind: 'append', key: 'a', value: 'y' })).toMatchObject({ kind: 'error' });
    expect(store.get('a')).toHaveLength(valueBytesMax);
  });
});

describe('determinism', () => {
  test('the same entries give the same results and snapshot, however they are batched', async () => {
    await fc.assert(
      fc.asyncProperty(entriesArbitrary, async (entries) => {
        const [together, apart] = [new KvMachine(), new KvMachine()];
        const encoded = entries.map((commands) => entryOf(...commands));

        const results = encoded.length === 0 ? [] : applyEntries(together, encoded);
        const resultsApart = encoded.flatMap((entry) => applyEntries(apart, [entry]));

        expect(resultsApart).toEqual(results);
        expect(Buffer.concat(await chunksOf(apart.snapshot()))).toEqual(
          Buffer.concat(await chunksOf(together.snapshot())),
        );
      }),
    );
  });

  test('the order of insertion shows neither in the snapshot nor in the digest', async () => {
    const [forth, back] = [new KvMachine(), new KvMachine()];
    const keys = Array.from({ length: 10_000 }, (_, number) => `key:${number}`);

    applyEntries(forth, [entryOf(...keys.map((key) => set(key, key)))]);
    applyEntries(back, [entryOf(...keys.toReversed().map((key) => set(key, key)))]);

    expect(await back.contentDigest()).toEqual(await forth.contentDigest());
    expect(await chunksOf(back.snapshot())).toEqual(await chunksOf(forth.snapshot()));
  });
});

describe('snapshots', () => {
  test('a restore brings back every pair, however the chunks are cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        entriesArbitrary,
        fc.integer({ min: 1, max: 50 }),
        async (entries, chunkBytes) => {
          const source = new KvMachine();
          for (const commands of entries) applyEntries(source, [entryOf(...commands)]);
          const bytes = Buffer.concat(await chunksOf(source.snapshot()));
          const chunks: Uint8Array[] = [];
          for (let at = 0; at < bytes.length; at += chunkBytes) {
            chunks.push(bytes.subarray(at, at + chunkBytes));
          }
          const target = new KvMachine();
          applyEntries(target, [entryOf(set('left over', 'x'))]);

          await target.restore(streamOf(chunks));

          expect(await target.contentDigest()).toEqual(await source.contentDigest());
          expect(target.store.count).toBe(source.store.count);
        },
      ),
    );
  });

  test('entries applied while a snapshot is read do not show in it', async () => {
    await fc.assert(
      fc.asyncProperty(entriesArbitrary, entriesArbitrary, async (before, meanwhile) => {
        const machine = new KvMachine();
        const fill = Array.from({ length: 9_000 }, (_, number) => set(`${number}`, 'x'.repeat(20)));
        applyEntries(machine, [entryOf(...fill), ...before.map((each) => entryOf(...each))]);
        const expected = await machine.contentDigest();
        const waiting = meanwhile.map((each) => entryOf(...each));
        waiting.push(entryOf({ kind: 'delete', keys: ['1', '2', '3', '8999'] }, set('new', 'y')));

        const chunks: Uint8Array[] = [];
        for await (const chunk of machine.snapshot()) {
          chunks.push(chunk);
          if (waiting.length > 0) applyEntries(machine, waiting.splice(0));
        }
        const restored = new KvMachine();
        await restored.restore(streamOf(chunks));

        expect(chunks.length).toBeGreaterThan(2);
        expect(await restored.contentDigest()).toEqual(expected);
      }),
      { numRuns: 8 },
    );
  });

  test.each([
    ['nothing', (_bytes: Buffer) => Buffer.alloc(0)],
    ['other bytes', (bytes: Buffer) => Buffer.alloc(bytes.length)],
    ['a cut end', (bytes: Buffer) => bytes.subarray(0, bytes.length - 1)],
    ['a missing pair', (bytes: Buffer) => bytes.subarray(0, bytes.length - 4)],
    ['bytes behind the end', (bytes: Buffer) => Buffer.concat([bytes, Buffer.from([1])])],
    ['a newer version', (bytes: Buffer) => bytes.fill(2, 4, 5)],
  ])('a restore from %s is refused and leaves the state as it was', async (_name, damage) => {
    const source = new KvMachine();
    applyEntries(source, [entryOf(set('a', '1'), set('b', '2'))]);
    const bytes = Buffer.concat(await chunksOf(source.snapshot()));
    const machine = new KvMachine();
    applyEntries(machine, [entryOf(set('old', 'x'))]);

    await expect(machine.restore(streamOf([damage(bytes)]))).rejects.toThrow(/snapshot/);

    expect(machine.store.get('old')).toBe('x');
  });
});

describe('digest', () => {
  test('it is the sum of the hashes of the pairs and thus of no order', () => {
    const pairs = [
      ['a', '1'],
      ['b', '2'],
    ] as const;

    expect(digestOfPairs(pairs)).toEqual(digestOfPairs(pairs.toReversed()));
    expect(digestOfPairs([['a', '']]).hex).not.toBe(digestOfPairs([['', 'a']]).hex);
    expect(digestOfPairs([])).toEqual({ count: 0, hex: '0'.repeat(64) });
  });

  test('a write while it is computed does not change it', async () => {
    const machine = new KvMachine();
    const keys = Array.from({ length: 10_000 }, (_, number) => `key:${number}`);
    applyEntries(machine, [entryOf(...keys.map((key) => set(key, key)))]);
    const expected = digestOfPairs(keys.map((key) => [key, key] as const));

    const digest = machine.contentDigest();
    applyEntries(machine, [entryOf({ kind: 'delete', keys }, set('late', '1'))]);

    expect(await digest).toEqual(expected);
    expect(machine.store.count).toBe(1);
  });
});

describe('scan', () => {
  test('it returns every key that is there throughout, whatever comes and goes meanwhile', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 500 }), (salt, count) => {
        const store = new KvStore();
        const staying = Array.from({ length: 800 }, (_, number) => `${salt}:${number}`);
        for (const key of staying) store.set(key, '');

        const seen = new Set<string>();
        let cursor = 0;
        let calls = 0;
        do {
          const step = store.scan(cursor, count);
          for (const key of step.keys) seen.add(key);
          store.set(`${salt}:comes:${calls}`, '');
          store.delete(`${salt}:comes:${calls - 2}`);
          cursor = step.cursor;
          calls++;
        } while (cursor !== 0);

        expect(staying.filter((key) => !seen.has(key))).toEqual([]);
      }),
      { numRuns: 20 },
    );
  });

  test('keys spread over the buckets', () => {
    const store = new KvStore();
    const keyCount = 4 * bucketCount;
    for (let number = 0; number < keyCount; number++) store.set(`user:${number}`, '');

    const sizes: number[] = [];
    for (let number = 0; number < bucketCount; number++) {
      const step = store.scan(number, 1);
      sizes.push(step.cursor === number + 1 ? step.keys.length : 0);
    }

    expect(Math.max(...sizes)).toBeLessThan(24);
  });
});

describe('plain text', () => {
  test('an appended command line takes effect and answers in plain text', () => {
    const machine = new KvMachine();

    const results = applyEntries(machine, [
      latin1('SET greeting "hello\\x21"'),
      latin1('incr n'),
      latin1('GET greeting'),
      latin1('set a'),
      latin1('set "a'),
    ]).map((result) => Buffer.from(result ?? []).toString('latin1'));

    expect(results.slice(0, 2)).toEqual(['OK', '1']);
    expect(results.slice(2).every((text) => text.startsWith('ERR '))).toBe(true);
    expect(ask(machine, 'GET greeting')).toBe('hello!');
  });

  test('a query answers reads and refuses writes', () => {
    const machine = new KvMachine();
    applyEntries(machine, [entryOf(set('a', '1'), set('b', '2'))]);

    expect(ask(machine, 'get a')).toBe('1');
    expect(ask(machine, 'GET c')).toBe('(nil)');
    expect(ask(machine, 'MGET a c b')).toBe('1\n(nil)\n2');
    expect(ask(machine, 'DBSIZE')).toBe('2');
    expect(ask(machine, 'TYPE a')).toBe('string');
    expect(ask(machine, 'CLUSTOR.DIGEST')).toMatch(/^2\n[0-9a-f]{64}$/);
    expect(ask(machine, 'SET a 2')).toMatch(/^ERR 'set' writes/);
    expect(ask(machine, 'GET')).toMatch(/^ERR wrong number/);
    expect(ask(machine, 'nonsense')).toMatch(/^ERR unknown command/);
    expect(ask(machine, '')).toMatch(/^ERR unknown command/);
  });
});
