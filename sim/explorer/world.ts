/**
 * A small world of real cores for the explorer: every replica with what its disk holds and what waits for a sync, the messages
 * under way, and what was promised so far.
 *
 * Worlds are values: a choice copies the replica that it changes and shares the rest. Each replica and message carries a hash
 * of its own, so that the hash of a world is put together from parts that mostly stay the same. Time is taken out: no voter
 * is ever sticky, no leader loses its quorum by waiting; what time would do is a choice of its own.
 */
import { assert, present } from '../../src/base/assert.ts';
import {
  incarnation,
  logIndex,
  nodeId,
  replicaId,
  term,
  type Incarnation,
  type Term,
} from '../../src/base/ids.ts';
import type { Configuration, Member, MemberRole } from '../../src/base/membership.ts';
import {
  checkRaftState,
  checkRaftTransition,
  cloneRaftState,
  createRaftState,
  defaultRaftSettings,
  start,
  step,
  termAt,
  tickMs,
  type Effect,
  type Input,
  type LogMeasure,
  type PeerMessage,
  type RaftSettings,
  type RaftState,
} from '../../src/raft/index.ts';
import { describeDisk, lastIndexOf, written, type DiskRequest, type ExploredDisk } from './disk.ts';
import { Promises } from './promises.ts';
import { describeForHash, hashText, type Hash } from './hash.ts';

/** One replica; never changed once it is in a world. */
export interface ExploredReplica {
  readonly core: RaftState;
  readonly disk: ExploredDisk;
  /** What the core is to be told of, in order. */
  readonly queue: readonly DiskRequest[];
  /** So many of them are on the disk already. */
  readonly writtenCount: number;
  readonly hash: Hash;
}

/** A message under way. */
export interface ExploredPacket {
  readonly to: number;
  readonly message: PeerMessage;
  readonly hash: Hash;
}

/** What may still happen, by kind of choice. */
export type Budgets = Readonly<Record<BudgetKind, number>>;
/** Kinds of choice that are bounded. */
export type BudgetKind =
  | 'campaign'
  | 'heartbeat'
  | 'proposal'
  | 'read'
  | 'crash'
  | 'loss'
  | 'duplicate'
  | 'quit'
  | 'change'
  | 'rollback'
  | 'transfer'
  | 'compact'
  | 'install';

/** See the file comment. */
export interface World {
  readonly replicas: readonly ExploredReplica[];
  readonly packets: readonly ExploredPacket[];
  readonly budgets: Budgets;
  readonly promises: Promises;
}

/** Rare things that a run should reach. */
export type Mark =
  | 'elected'
  | 'committed'
  | 'truncated'
  | 'read'
  | 'joint'
  | 'final'
  | 'rollback'
  | 'handedOver'
  | 'newTermCommit'
  | 'compacted'
  | 'installed'
  | 'wanted'
  | 'kept'
  | 'replaced';

/** What a world needs to know while it is stepped. */
export interface Explored {
  readonly initial: Configuration;
  readonly marks: Set<Mark>;
  /** Tells completions before anything is written: a planted bug. */
  readonly liesAboutSyncs: boolean;
}

/** Votes are never refused for stickiness, heartbeats are choices, a joint phase ends after its first commit. */
const settings: RaftSettings = {
  ...defaultRaftSettings,
  electionTimeoutTicksMin: 2,
  electionTimeoutTicksMax: 1_000_000,
  electionBackoffTicksMax: 1_000_000,
  heartbeatTicks: 1,
  finalizeEntries: 1,
  rollbackGraceTicks: 1_000_000_000,
  catchUpTicksMax: 1_000_000_000,
};
/** Behind every input a voter has not heard its leader for the minimum election timeout. */
const ticksPerInput = 2;
const tenBytesEach: LogMeasure = {
  fit: (_first, lastIndexMax) => lastIndexMax,
  bytes: (first, last) => (last - first + 1) * 10,
};

/** The life of replica `number`. */
export function lifeOf(number: number): Incarnation {
  return incarnation(`018f0000-0000-7000-8000-${number.toString(16).padStart(12, '0')}`);
}

/** A member on the node of the same number. */
export function memberOf(number: number, role: MemberRole = 'voter'): Member {
  return {
    replicaId: replicaId(number),
    nodeId: nodeId(number),
    incarnation: lifeOf(number),
    role,
    addresses: [],
  };
}

/** The world at the start. */
export function firstWorld(
  explored: Explored,
  numbers: readonly number[],
  budgets: Budgets,
): World {
  const disk: ExploredDisk = {
    term: 0 as Term,
    votedFor: undefined,
    base: { index: 0, term: 0, configuration: explored.initial },
    terms: [],
    snapshot: undefined,
  };
  return {
    replicas: numbers.map((number) => boot(new Promises(), { number, disk, now: 0 })),
    packets: [],
    budgets,
    promises: new Promises(),
  };
}

/** The world once the first replica leads, its first entry is committed everywhere and nothing is under way. */
export function ledWorld(explored: Explored, numbers: readonly number[], budgets: Budgets): World {
  const ticks = 2_000_000;
  let world = firstWorld(explored, numbers, budgets);
  for (let round = 0; round < 3; round++) {
    // The first one elects, later ones tell everybody what is committed.
    world = give(world, explored, 0, { kind: 'tick' }, round === 0 ? ticks : ticksPerInput);
    while (world.packets.length > 0 || world.replicas.some(({ queue }) => queue.length > 0)) {
      const waiting = world.replicas.findIndex(({ queue }) => queue.length > 0);
      world = waiting >= 0 ? sync(world, explored, waiting) : deliver(world, explored, 0, false);
    }
  }
  assert(world.replicas[0]?.core.role === 'leader', 'the first replica leads');
  explored.marks.clear();
  return world;
}

/** Gives a replica an input; throws where a promise is broken. */
export function give(
  world: World,
  explored: Explored,
  at: number,
  input: Input,
  ticks = ticksPerInput,
): World {
  const before = present(world.replicas[at], 'a replica of this world');
  const core = cloneRaftState(before.core);
  const effects: Effect[] = [];
  const now = core.now + ticks;
  step(core, input, { now, clockMs: now * tickMs, log: tenBytesEach, effects });
  checkRaftState(core);
  checkRaftTransition(before.core, core);
  return carryOut(world, explored, at, { before, core, effects });
}

/** Completes the oldest request of a replica's disk. */
export function sync(world: World, explored: Explored, at: number): World {
  const replica = present(world.replicas[at], 'a replica of this world');
  const request = present(replica.queue[0], 'something waits for the disk');
  const { core, writtenCount } = replica;
  const isWritten = writtenCount > 0 || explored.liesAboutSyncs;
  const next = replaceReplica(world, at, {
    core,
    disk: isWritten ? replica.disk : written(replica.disk, request),
    queue: replica.queue.slice(1),
    writtenCount: Math.max(0, writtenCount - 1),
  });
  const completion = completionOf(core, request, writtenCount > 0);
  return completion === undefined ? next : give(next, explored, at, completion);
}

/** The world with another state of a replica. */
export function replaceReplica(
  world: World,
  at: number,
  replica: Omit<ExploredReplica, 'hash'>,
): World {
  return { ...world, replicas: world.replicas.with(at, seal(replica)) };
}

/** Power goes out and comes back: what was not synced is gone. */
export function crash(world: World, at: number): World {
  const replica = present(world.replicas[at], 'a replica of this world');
  const fresh = boot(world.promises, {
    number: Number(replica.core.selfReplica),
    disk: replica.disk,
    now: replica.core.now,
  });
  return { ...world, replicas: world.replicas.with(at, fresh) };
}

/** The world behind the arrival of a message, which may come once more later. */
export function deliver(
  world: World,
  explored: Explored,
  packet: number,
  comesAgain: boolean,
): World {
  const arriving = present(world.packets[packet], 'a message under way');
  const { to, message } = arriving;
  const others = world.packets.filter((_packet, at) => at !== packet);
  const packets = comesAgain ? [...others, arriving] : others;
  const at = world.replicas.findIndex(({ core }) => Number(core.selfReplica) === to);
  return give({ ...world, packets }, explored, at, { kind: 'message', message });
}

function boot(
  promises: Promises,
  life: { readonly number: number; readonly disk: ExploredReplica['disk']; readonly now: number },
): ExploredReplica {
  const { number, disk, now } = life;
  const { base } = disk;
  const inLog = promises.configurationsAt(base.index + 1, disk.terms);
  const core = createRaftState({
    selfNode: nodeId(number),
    selfReplica: replicaId(number),
    selfIncarnation: lifeOf(number),
    settings,
    term: disk.term,
    votedFor: disk.votedFor,
    baseIndex: logIndex(base.index),
    baseTerm: term(base.term),
    termRuns: runsOf(disk),
    lastIndex: logIndex(lastIndexOf(disk)),
    recordedCommitIndex: logIndex(0),
    configurations: [base.configuration, ...inLog].slice(-3),
    ledgerSeq: 1,
    inDoubt: false,
    now,
    seed: 1,
  });
  start(core);
  return seal({ core, disk, queue: [], writtenCount: 0 });
}

function runsOf({
  base,
  terms,
}: ExploredDisk): { readonly firstIndex: ReturnType<typeof logIndex>; readonly term: Term }[] {
  return terms.flatMap((value, position) =>
    terms[position - 1] === value
      ? []
      : [{ firstIndex: logIndex(base.index + position + 1), term: term(value) }],
  );
}

function seal(replica: Omit<ExploredReplica, 'hash'>): ExploredReplica {
  const { core, disk, queue, writtenCount } = replica;
  const waiting = [queue, writtenCount];
  return { ...replica, hash: hashText(describeForHash(core, describeDisk(disk), waiting)) };
}

function carryOut(
  world: World,
  explored: Explored,
  at: number,
  stepped: {
    readonly before: ExploredReplica;
    readonly core: RaftState;
    readonly effects: readonly Effect[];
  },
): World {
  const { before, core, effects } = stepped;
  const queue = [...before.queue];
  const packets = [...world.packets];
  let promises = world.promises;
  for (const effect of effects) {
    const request = requestOf(core, effect);
    if (request !== undefined) queue.push(request);
    if (effect.kind === 'appendToLog' && effect.source === 'configuration') {
      promises = promises.withConfiguration(effect.configuration);
      if (effect.phase !== 'learners') explored.marks.add(effect.phase);
    }
    if (effect.kind === 'truncateLog') explored.marks.add('truncated');
    const packet = packetOf(core, effect, promises);
    if (packet !== undefined) {
      promises.checkSpoken(before.disk, packet);
      packets.push(packet);
    }
  }
  const replicas = world.replicas.with(at, seal({ ...before, core, queue }));
  for (const effect of effects) promises = promises.after(effect, core, replicas, explored.marks);
  promises.checkLogs(at, replicas);
  return { ...world, replicas, packets, promises };
}

function requestOf(core: RaftState, effect: Effect): DiskRequest | undefined {
  switch (effect.kind) {
    case 'persistHardState':
      return { kind: 'hardState', term: effect.term, votedFor: effect.votedFor };
    case 'truncateLog':
      return { kind: 'truncate', fromIndex: effect.fromIndex };
    case 'appendToLog':
      return {
        kind: 'append',
        sequence: effect.appendSequence,
        firstIndex: effect.firstIndex,
        terms: termsOf(core, effect.firstIndex, effect.lastIndex),
      };
    default:
      return undefined;
  }
}

function packetOf(core: RaftState, effect: Effect, promises: Promises): ExploredPacket | undefined {
  if (effect.kind === 'sendMessage') return packet(Number(effect.to.replicaId), effect.message);
  if (effect.kind !== 'sendAppend') return undefined;
  const { prevIndex, prevTerm, lastIndex, commit, receiverInDoubt, needsSnapshot } = effect;
  const terms = termsOf(core, prevIndex + 1, lastIndex);
  const termRuns = terms.flatMap((value, position) =>
    terms[position - 1] === value ? [] : [prevIndex + 1 + position, value],
  );
  return packet(Number(effect.to.replicaId), {
    kind: 'appendEntries',
    fromNode: core.selfNode,
    fromReplica: core.selfReplica,
    fromIncarnation: core.selfIncarnation,
    term: effect.term,
    prevIndex,
    prevTerm,
    commit,
    receiverInDoubt,
    needsSnapshot,
    entries: {
      count: terms.length,
      termRuns,
      configurations: promises.configurationsAt(prevIndex + 1, terms),
    },
  });
}

function packet(to: number, message: PeerMessage): ExploredPacket {
  return { to, message, hash: hashText(`${to} ${JSON.stringify(message)}`) };
}

function termsOf(core: RaftState, first: number, last: number): number[] {
  const terms: number[] = [];
  for (let index = first; index <= last; index++)
    terms.push(Number(termAt(core.log, logIndex(index))));
  return terms;
}

/** What the core is told; a completion that was overtaken by a truncation is told only where it may come late. */
function completionOf(core: RaftState, request: DiskRequest, isLate: boolean): Input | undefined {
  switch (request.kind) {
    case 'hardState':
      return { kind: 'hardStateDurable', term: request.term, votedFor: request.votedFor };
    case 'truncate':
      return undefined;
    case 'append': {
      if (request.sequence < core.truncationSequence && !isLate) return undefined;
      const last = present(request.terms[request.terms.length - 1], 'an append has an entry');
      return {
        kind: 'durable',
        appendSequence: request.sequence,
        index: logIndex(request.firstIndex + request.terms.length - 1),
        term: term(last),
        ledgerSeq: 1,
      };
    }
  }
}
