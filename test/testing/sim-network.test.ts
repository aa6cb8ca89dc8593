import { describe, expect, test } from 'vitest';

import { nodeId } from '../../src/base/ids.ts';
import type {
  CloseReason,
  Connection,
  ConnectionHandlers,
  DialOutcome,
} from '../../src/ports/transport.ts';
import type { SimClientHost, SimHost, SimWorld } from '../../src/testing/sim-world.ts';
import { pass, sampleWorld, settled, threeNodes } from './sim-rounds.ts';

const [one, two] = threeNodes as [(typeof threeNodes)[0], (typeof threeNodes)[0]];

/** One end of a stream and what it was told. */
class End implements ConnectionHandlers {
  connection: Connection | undefined;
  readonly chunks: Uint8Array[] = [];
  readonly closes: CloseReason[] = [];
  drainedCount = 0;

  take(connection: Connection): this {
    this.connection = connection;
    return this;
  }

  data(chunk: Uint8Array): void {
    if (this.closes.length > 0) throw new Error('bytes after the close');
    this.chunks.push(chunk);
  }

  closed(reason: CloseReason): void {
    this.closes.push(reason);
  }

  drained(): void {
    this.drainedCount++;
  }

  get byteCount(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  get text(): number[] {
    return this.chunks.flatMap((chunk) => [...chunk]);
  }
}

interface Pair {
  readonly world: SimWorld;
  readonly dialer: End;
  readonly listener: End;
  readonly host: SimHost;
}

async function pair(seed: number): Promise<Pair> {
  const world = sampleWorld(seed);
  const host = world.start(one);
  const dialer = new End();
  const listener = new End();
  await settled(
    world.scheduler,
    world.start(two).transport.listen((connection) => listener.take(connection)),
  );
  const outcome = await dial(world, host, { handlers: (connection) => dialer.take(connection) });
  expect(outcome.kind).toBe('connected');
  return { world, dialer, listener, host };
}

async function dial(
  world: SimWorld,
  from: SimClientHost,
  target: { expected?: number; handlers?: (connection: Connection) => ConnectionHandlers },
): Promise<DialOutcome> {
  const { expected, handlers = (connection) => new End().take(connection) } = target;
  return settled(
    world.scheduler,
    new Promise<DialOutcome>((resolve) =>
      from.transport.dial(
        {
          address: world.address(two),
          expected: expected === undefined ? undefined : nodeId(expected),
          handlers,
        },
        resolve,
      ),
    ),
  );
}

test('bytes arrive in order, in other pieces than they were sent', async () => {
  let hadOtherPieces = false;
  for (let seed = 1; seed <= 20; seed++) {
    const { world, dialer, listener } = await pair(seed);
    const sent: number[] = [];
    for (let message = 0; message < 50; message++) {
      const bytes = Uint8Array.from(
        { length: 1 + (message % 7) },
        (_, at) => (message * 7 + at) & 0xff,
      );
      sent.push(...bytes);
      dialer.connection!.send([bytes.subarray(0, 1), bytes.subarray(1)]);
      if (message % 5 === 0) await pass(world, 1);
    }
    await pass(world, 1_000);

    expect(listener.text).toEqual(sent);
    hadOtherPieces ||= listener.chunks.length !== 50;
  }
  expect(hadOtherPieces).toBe(true);
});

test('both ends know who is at the other end', async () => {
  const { dialer, listener } = await pair(1);

  expect(dialer.connection!.peer).toMatchObject({ kind: 'node', nodeId: 2 });
  expect(listener.connection!.peer).toMatchObject({ kind: 'node', nodeId: 1 });
});

test('a client dials under its own name', async () => {
  const world = sampleWorld(2);
  const listener = new End();
  await settled(
    world.scheduler,
    world.start(two).transport.listen((connection) => listener.take(connection)),
  );

  const outcome = await dial(world, world.client('alice'), { expected: 2 });

  expect(outcome.kind).toBe('connected');
  expect(listener.connection!.peer).toMatchObject({
    kind: 'client',
    role: 'client',
    name: 'alice',
  });
});

describe('a dial fails', () => {
  test('as refused while nobody listens', async () => {
    const world = sampleWorld(3);

    const outcome = await dial(world, world.start(one), {});

    expect(outcome).toEqual({ kind: 'failed', reason: { kind: 'refused' } });
  });

  test('as unauthenticated when another node was expected', async () => {
    const { world, host } = await pair(4);

    const outcome = await dial(world, host, { expected: 3 });

    expect(outcome).toMatchObject({ kind: 'failed', reason: { kind: 'unauthenticated' } });
  });

  test('by timeout while the link is cut, one-way or not', async () => {
    for (const [from, to] of [
      [1, 2],
      [2, 1],
    ] as const) {
      const { world, host } = await pair(5);
      world.network.cut(from, to);

      expect(await dial(world, host, {})).toMatchObject({
        kind: 'failed',
        reason: { kind: 'failed' },
      });
    }
  });

  test('when its own transport is closed', async () => {
    const { world, host, dialer } = await pair(6);

    await settled(world.scheduler, host.transport.close());

    expect(dialer.closes).toEqual([{ kind: 'closed' }]);
    expect(await dial(world, host, {})).toEqual({ kind: 'failed', reason: { kind: 'closed' } });
  });
});

test('bytes sent before an end arrive before it, and both ends close once', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { world, dialer, listener } = await pair(seed);
    const large = new Uint8Array(600_000).fill(seed);

    dialer.connection!.send([large]);
    dialer.connection!.send([large]);
    dialer.connection!.end();
    dialer.connection!.send([large]);
    await pass(world, 10_000);

    expect(listener.byteCount).toBe(1_200_000);
    expect(listener.closes).toEqual([{ kind: 'closed' }]);
    expect(dialer.closes).toEqual([{ kind: 'closed' }]);
    expect(world.network.connectionEndCount).toBe(0);
  }
});

test('a paused reader fills the window, and the sender drains when it resumes', async () => {
  const { world, dialer, listener } = await pair(7);
  listener.connection!.pause(true);
  for (let count = 0; count < 10; count++) dialer.connection!.send([new Uint8Array(100_000)]);
  await pass(world, 1_000);
  expect(listener.chunks).toEqual([]);
  expect(dialer.connection!.queuedBytes).toBe(800_000);

  listener.connection!.pause(false);
  await pass(world, 1_000);

  expect(listener.byteCount).toBe(1_000_000);
  expect(dialer.connection!.queuedBytes).toBe(0);
  expect(dialer.drainedCount).toBe(1);
});

test('a short cut delays bytes and loses none', async () => {
  const { world, dialer, listener } = await pair(8);
  world.network.cut(1, 2);
  dialer.connection!.send([Uint8Array.of(1, 2, 3)]);
  await pass(world, 400);
  expect(listener.text).toEqual([]);

  world.network.mend(1, 2);
  await pass(world, 1_000);

  expect(listener.text).toEqual([1, 2, 3]);
  expect(listener.closes).toEqual([]);
});

test('a one-way cut lets the other direction pass', async () => {
  const { world, dialer, listener } = await pair(9);
  world.network.cut(1, 2);

  listener.connection!.send([Uint8Array.of(4)]);
  await pass(world, 100);

  expect(dialer.text).toEqual([4]);
});

test('a long cut resets both ends', async () => {
  const { world, dialer, listener } = await pair(10);
  world.network.cut(1, 2);
  dialer.connection!.send([Uint8Array.of(1)]);

  await pass(world, 6_000);

  expect(dialer.closes).toEqual([{ kind: 'failed', detail: 'ETIMEDOUT' }]);
  expect(listener.closes).toEqual([{ kind: 'failed', detail: 'ETIMEDOUT' }]);
  expect(listener.text).toEqual([]);
});

test('a broken stream delivers a prefix of what was sent, at times in the middle of a send', async () => {
  const lengths = new Set<number>();
  for (let seed = 1; seed <= 40; seed++) {
    const { world, dialer, listener } = await pair(seed);
    for (let count = 0; count < 4; count++)
      dialer.connection!.send([new Uint8Array(100).fill(count)]);

    expect(world.network.breakConnections(1, 2)).toBe(1);
    dialer.connection!.send([Uint8Array.of(77)]);
    await pass(world, 5_000);

    expect(dialer.closes.length).toBe(1);
    expect(listener.closes.length).toBe(1);
    const whole = Array.from({ length: 400 }, (_, at) => Math.floor(at / 100));
    expect(listener.text).toEqual(whole.slice(0, listener.text.length));
    lengths.add(listener.text.length);
  }
  expect([...lengths].some((length) => length % 100 !== 0)).toBe(true);
});

test('the peers of a crashed node are told, and its own callbacks never come', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { world, dialer, listener } = await pair(seed);
    dialer.connection!.send([Uint8Array.of(1)]);

    world.crash(two, seed % 2 === 0 ? 'powerLoss' : 'processKill');
    await pass(world, 5_000);

    expect(listener.chunks).toEqual([]);
    expect(listener.closes).toEqual([]);
    expect(dialer.closes).toEqual([{ kind: 'failed', detail: 'ECONNRESET' }]);
    expect(world.network.connectionEndCount).toBe(0);
  }
});

test('the next life listens at the same address', async () => {
  const { world, host } = await pair(11);
  world.crash(two);
  expect(await dial(world, host, {})).toEqual({ kind: 'failed', reason: { kind: 'refused' } });

  await settled(
    world.scheduler,
    world.start(two).transport.listen((connection) => new End().take(connection)),
  );

  expect((await dial(world, host, { expected: 2 })).kind).toBe('connected');
});

test('a destroyed connection closes both ends', async () => {
  const { world, dialer, listener } = await pair(12);

  listener.connection!.destroy();
  expect(listener.closes).toEqual([]);
  await pass(world, 100);

  expect(listener.closes).toEqual([{ kind: 'closed' }]);
  expect(dialer.closes.length).toBe(1);
});

test('a reader that paused still learns of a crash', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { world, dialer, listener } = await pair(seed);
    dialer.connection!.pause(true);
    for (let count = 0; count < 5; count++) listener.connection!.send([new Uint8Array(100_000)]);
    await pass(world, 100);

    world.crash(two, 'processKill');
    await pass(world, 5_000);

    expect(dialer.closes).toEqual([{ kind: 'failed', detail: 'ECONNRESET' }]);
  }
});

test('a dial whose dialer died leaves no half-open stream', async () => {
  const world = sampleWorld(13);
  const listener = new End();
  await settled(
    world.scheduler,
    world.start(two).transport.listen((connection) => listener.take(connection)),
  );
  for (let delaySixteenths = 0; delaySixteenths < 60; delaySixteenths++) {
    const host = world.start(one);
    host.transport.dial(
      {
        address: world.address(two),
        expected: two,
        handlers: (connection) => new End().take(connection),
      },
      () => {},
    );
    await pass(world, delaySixteenths / 16);
    world.crash(one);
    await pass(world, 6_000);

    expect(world.network.connectionEndCount).toBe(0);
  }
});
