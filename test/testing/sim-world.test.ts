import { describe, expect, test } from 'vitest';

import type { Connection } from '../../src/ports/transport.ts';
import { installFaultPlan } from '../../src/testing/fault-install.ts';
import { defaultFaultKinds, drawFaultPlan, type FaultKind } from '../../src/testing/fault-plan.ts';
import { simEventKinds, simTask, SimScheduler } from '../../src/testing/sim-scheduler.ts';
import type { SimHost, SimWorld } from '../../src/testing/sim-world.ts';
import { drainMicrotasks, pass, sampleWorld, settled, threeNodes } from './sim-rounds.ts';

const [one, two] = threeNodes as [(typeof threeNodes)[0], (typeof threeNodes)[0]];

/** A node that listens, dials everybody, pings each 50 ms and writes what it hears. */
function runPinger(world: SimWorld, host: SimHost): void {
  const { clock, transport, fileSystem, entropy } = host;
  const connections = new Set<Connection>();
  const take = (
    connection: Connection,
  ): { data: (chunk: Uint8Array) => void; closed: () => void; drained: () => void } => {
    connections.add(connection);
    return {
      data: () => clock.endOfTurn(() => {}),
      closed: () => void connections.delete(connection),
      drained: () => {},
    };
  };
  const dial = (): void => {
    for (const other of world.nodeIds) {
      if (other <= host.nodeId) continue;
      const redial = (): void => void clock.setTimer(200, () => dialOne());
      const dialOne = (): void =>
        transport.dial(
          { address: world.address(other), expected: other, handlers: take },
          (outcome) => {
            if (outcome.kind === 'failed') redial();
          },
        );
      dialOne();
    }
  };
  const open = async (): Promise<void> => {
    await fileSystem.lockDirectory('/data');
    await transport.listen(take);
    await fileSystem.createZeroed('/data/log', 65_536);
    await fileSystem.syncDirectory('/data');
    const file = await fileSystem.open('/data/log', { access: 'durableWrite' });
    const bytes = fileSystem.allocateStaging(4096);
    let isWriting = false;
    const tick = (): void => {
      clock.setTimer(50, tick);
      for (const connection of connections) connection.send([entropy.bytes(64)]);
      if (isWriting) return;
      isWriting = true;
      bytes.fill(entropy.uint32() & 0xff);
      fileSystem.submit(
        [
          { kind: 'write', file, position: 4096 * (entropy.uint32() & 15), bytes },
          { kind: 'sync', file },
        ],
        () => {
          isWriting = false;
        },
      );
    };
    tick();
    dial();
  };
  open().catch(() => {});
}

async function storm(
  seed: number,
  kinds?: readonly FaultKind[],
): Promise<{ hash: string; events: number; counts: Record<FaultKind, number> }> {
  const world = sampleWorld(seed, { wallSkewMsMax: 500 });
  for (const nodeId of world.nodeIds) runPinger(world, world.start(nodeId));
  const plan = drawFaultPlan({
    random: world.random,
    nodeIds: world.nodeIds,
    fromMs: 1_000,
    untilMs: 20_000,
    ...(kinds === undefined ? {} : { kinds }),
  });
  expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
  const counts = installFaultPlan(world, plan, {
    crashed: () => {},
    leader: () => undefined,
    operate: () => true,
    install: () => {},
    restart: (nodeId) => runPinger(world, world.start(nodeId)),
  });
  await world.run({ untilMs: 20_000, drainMicrotasks });
  world.heal();
  await world.run({ untilMs: 25_000, drainMicrotasks });
  return { hash: world.traceHash(), events: world.scheduler.eventCount, counts };
}

describe('equal seeds give equal runs', () => {
  for (let seed = 1; seed <= 12; seed++) {
    test(`seed ${seed}`, async () => {
      const first = await storm(seed);
      const second = await storm(seed);

      expect(second).toEqual(first);
      expect(first.events).toBeGreaterThan(1_000);
    });
  }

  test('and different seeds different ones', async () => {
    expect((await storm(1)).hash).not.toBe((await storm(2)).hash);
  });
});

test('over many plans every kind of fault happens', async () => {
  // What may be damaged is known of clusters with replicas only.
  const damaging: readonly FaultKind[] = [
    'readError',
    'bitRot',
    'lostWrite',
    'misdirectedWrite',
    'diskSwap',
  ];
  const kinds = defaultFaultKinds.filter((kind) => !damaging.includes(kind));
  const totals = new Map<FaultKind, number>();
  for (let seed = 1; seed <= 30; seed++) {
    const { counts } = await storm(seed);
    for (const kind of kinds) totals.set(kind, (totals.get(kind) ?? 0) + counts[kind]);
  }
  for (const kind of kinds) expect([kind, (totals.get(kind) ?? 0) > 0]).toEqual([kind, true]);
});

test('events run in order of time, equal times in order of insertion, ends of turns after them', async () => {
  const scheduler = new SimScheduler();
  const order: string[] = [];
  const note = (name: string): ReturnType<typeof simTask> =>
    simTask(undefined, simEventKinds.world, () => void order.push(name));
  const expected: string[] = [];
  scheduler.schedule(
    5,
    simTask(undefined, simEventKinds.world, () => {
      scheduler.scheduleEndOfTurn(note('end'));
      scheduler.schedule(0, note('c'));
    }),
  );
  scheduler.schedule(5, note('a'));
  scheduler.schedule(5, note('b'));
  for (let at = 500; at >= 6; at--) scheduler.schedule(at, note(String(at)));
  for (let at = 6; at <= 500; at++) expected.push(String(at));

  await scheduler.run({ untilMs: 1_000, drainMicrotasks });

  expect(order).toEqual(['a', 'b', 'c', 'end', ...expected]);
  expect(scheduler.nowMs).toBe(1_000);
});

test('a paused node handles nothing until it resumes, then everything in order', async () => {
  const world = sampleWorld(3);
  const host = world.start(one);
  const fired: [string, number][] = [];
  for (const delay of [10, 20, 30, 2_000])
    host.clock.setTimer(delay, () => fired.push([String(delay), world.nowMs]));

  expect(world.pause(one, 1_000)).toBe(true);
  expect(world.pause(one, 1_000)).toBe(false);
  await pass(world, 999);
  expect(fired).toEqual([]);
  await pass(world, 2_000);

  expect(fired.map(([name]) => name)).toEqual(['10', '20', '30', '2000']);
  expect(fired.slice(0, 3).every(([, atMs]) => atMs === 1_000)).toBe(true);
});

test('bytes for a paused node arrive when it resumes', async () => {
  const world = sampleWorld(4);
  const received: number[] = [];
  const listen = world.start(two).transport.listen(() => ({
    data: (chunk) => void received.push(...chunk),
    closed: () => {},
    drained: () => {},
  }));
  await settled(world.scheduler, listen);
  const host = world.start(one);
  let connection: Connection | undefined;
  const handlers = (
    made: Connection,
  ): { data: () => void; closed: () => void; drained: () => void } => {
    connection = made;
    return { data: () => {}, closed: () => {}, drained: () => {} };
  };
  host.transport.dial({ address: world.address(two), expected: two, handlers }, () => {});
  await pass(world, 100);

  world.pause(two, 500);
  for (let value = 0; value < 5; value++) connection?.send([Uint8Array.of(value)]);
  await pass(world, 499);
  expect(received).toEqual([]);
  await pass(world, 100);

  expect(received).toEqual([0, 1, 2, 3, 4]);
});

test('a drifting clock never fires a timer before its own time', async () => {
  const world = sampleWorld(5);
  const { clock } = world.start(one);
  for (const rate of [0.95, 1.05, 0.97, 1]) {
    const startMs = clock.monotonicMs();
    let firedMs = 0;
    clock.setTimer(1_000, () => (firedMs = clock.monotonicMs()));
    await pass(world, 300);
    world.hardwareClock(one).setRate(rate);
    await pass(world, 1_000);

    expect(firedMs - startMs).toBeGreaterThanOrEqual(1_000 - 1e-6);
    expect(firedMs - startMs).toBeLessThan(1_110);
  }
});

test('a wall jump leaves monotonic time alone', () => {
  const world = sampleWorld(6);
  const { clock } = world.start(one);
  const monotonicMs = clock.monotonicMs();
  const wallMs = clock.wallMs();

  world.hardwareClock(one).jumpWall(-90_000);

  expect(clock.monotonicMs()).toBe(monotonicMs);
  expect(clock.wallMs()).toBe(wallMs - 90_000);
});

test('a cancelled timer stays silent, and so does one of a dead life', async () => {
  const world = sampleWorld(7);
  const host = world.start(one);
  let fired = 0;
  host.clock.setTimer(5, () => fired++)();
  host.clock.setTimer(5, () => fired++);
  host.clock.endOfTurn(() => fired++);

  host.kill();
  host.kill();
  await pass(world, 100);

  expect(fired).toBe(0);
  expect(world.isDown(one)).toBe(true);
  expect(world.start(one).generation).toBe(2);
});
