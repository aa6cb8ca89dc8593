/**
 * Cores of one partition over disks and links in memory, with every check that can be made from outside.
 *
 * Each replica has a disk that holds what was synced and a queue of what was asked for; a crash loses the queue. Whatever
 * leaves a replica is compared with its disk at that moment (KER-2), every commit with one list of committed terms, every
 * reign with its term. All chance comes from one seed.
 */
import { assert, present } from '../../src/base/assert.ts';
import { logIndex, nodeId, type Incarnation, type LogIndex } from '../../src/base/ids.ts';
import type { Configuration } from '../../src/base/membership.ts';
import { createPrng, nextBelow, nextFloat, type PrngState } from '../../src/base/prng.ts';
import {
  activeConfiguration,
  cloneRaftState,
  fingerprint,
  hasQuorum,
  nextTickDue,
  step,
  termAt,
  tickMs,
  type Effect,
  type Input,
  type LogMeasure,
  type OutgoingMessage,
  type PeerMessage,
  type RaftState,
  type Recipient,
} from '../../src/raft/index.ts';
import { appendOf, checkedStep, createCore, lifeOf } from './core-driver.ts';
import { writeToDisk, type Disk } from './raft-disk.ts';

interface Packet {
  readonly at: number;
  readonly life: Incarnation;
  readonly from: number;
  readonly to: number;
  readonly message: PeerMessage;
}

/** One replica: its number is also its node's. */
export interface WorldReplica {
  readonly number: number;
  /** Counts its lives: one that begins anew has lost its log and is another member. */
  life: number;
  readonly disk: Disk;
  /** Absent while it is down. */
  state: RaftState | undefined;
  boots: number;
  /** The boot of each peer that it was last connected to. */
  readonly bootsSeen: Map<number, number>;
  /** Up to where its state machine has applied. */
  applied: number;
  /** Up to where its commits were compared with those of the others. */
  checkedCommit: number;
}

/** Chances of mishap; all zero unless told. */
export interface Weather {
  lossRate: number;
  duplicateRate: number;
  lateRate: number;
  lateTicksMax: number;
}

/** At most ten entries in an append, so that batching and windows matter. */
const tenEntriesAtMost: LogMeasure = {
  fit: (first, last) => Math.min(last, first + 9) as LogIndex,
  bytes: (first, last) => (last - first + 1) * 10,
};

/** See the file comment. */
export class RaftWorld {
  readonly replicas: readonly WorldReplica[];
  readonly prng: PrngState;
  readonly weather: Weather = { lossRate: 0, duplicateRate: 0, lateRate: 0, lateTicksMax: 30 };
  readonly configuration: Configuration;
  /** Term of every committed entry by index. */
  readonly committed: number[] = [];
  /** Reigns by term. */
  readonly leaders: Map<number, number> = new Map<number, number>();
  /** Configurations by `term/index` of the entry that brought them: equal entries bring equal ones. */
  readonly configurations: Map<string, Configuration> = new Map<string, Configuration>();
  readsReady = 0;
  now = 0;
  #packets: Packet[] = [];
  readonly #cut: Set<string> = new Set<string>();
  readonly #reads: Map<number, number> = new Map<number, number>();
  #nextReadId = 1;

  constructor(seed: number, configuration: Configuration, spares: readonly number[] = []) {
    this.prng = createPrng(seed);
    this.configuration = configuration;
    const numbers = new Set([
      ...[...configuration.members, ...configuration.outgoingMembers].map((row) =>
        Number(row.replicaId),
      ),
      ...spares,
    ]);
    this.replicas = Array.from(numbers, (number) => ({
      number,
      life: 0,
      disk: { term: 0, votedFor: undefined, terms: [], commitIndex: 0, ledgerSeq: 0, queue: [] },
      state: undefined,
      boots: 0,
      bootsSeen: new Map<number, number>(),
      applied: 0,
      checkedCommit: 0,
    }));
    for (const replica of this.replicas) this.boot(replica);
  }

  /** The replica of a number. */
  replica(number: number): WorldReplica {
    return present(
      this.replicas.find((row) => row.number === number),
      'a replica of this world',
    );
  }

  /** Core of a replica that is up. */
  core(number: number): RaftState {
    return present(this.replica(number).state, 'a replica that is up');
  }

  /** The leader of the newest term that has one, among those that are up. */
  leader(): WorldReplica | undefined {
    const leading = this.replicas.filter(({ state }) => state?.role === 'leader');
    return leading.toSorted((a, b) => (b.state?.term ?? 0) - (a.state?.term ?? 0))[0];
  }

  /** Starts a replica from its disk. */
  boot(replica: WorldReplica): void {
    const { disk } = replica;
    replica.boots++;
    replica.applied = disk.commitIndex;
    replica.checkedCommit = disk.commitIndex;
    replica.state = createCore({
      self: replica.number,
      life: replica.life,
      configurations: this.#configurationsOf(disk.terms),
      term: disk.term,
      ...(disk.votedFor === undefined ? {} : { votedFor: disk.votedFor }),
      log: disk.terms,
      recordedCommitIndex: disk.commitIndex,
      ledgerSeq: disk.ledgerSeq,
      now: this.now,
      isJustStarted: true,
      seed: nextBelow(this.prng, 0x1_0000_0000),
    });
    for (const other of this.replicas) {
      if (other !== replica && !this.#isCut(replica, other)) this.#connect(replica, other);
    }
  }

  /** A replica that nobody counts begins anew with an empty log, as another member. */
  reincarnate(replica: WorldReplica): void {
    this.crash(replica);
    replica.life++;
    replica.disk.terms.length = 0;
    replica.disk.commitIndex = 0;
    replica.applied = 0;
    this.boot(replica);
  }

  /** Power goes out: everything that was not synced is gone. */
  crash(replica: WorldReplica): void {
    replica.state = undefined;
    replica.disk.queue = [];
  }

  /** Cuts the link in one direction. */
  cut(from: number, to: number): void {
    this.#cut.add(`${from}>${to}`);
  }

  /** Mends the link in one direction without a new connection: only what was said meanwhile is lost. */
  mend(from: number, to: number): void {
    this.#cut.delete(`${from}>${to}`);
  }

  /** Cuts a replica off in both directions. */
  isolate(number: number): void {
    for (const other of this.replicas) {
      this.cut(number, other.number);
      this.cut(other.number, number);
    }
  }

  /** Mends all links; those that were cut connect anew. */
  heal(): void {
    const parted = this.replicas.flatMap((replica, at) =>
      this.replicas
        .slice(at + 1)
        .filter((other) => this.#isCut(replica, other))
        .map((other) => [replica, other] as const),
    );
    this.#cut.clear();
    for (const [replica, other] of parted) this.#connect(replica, other);
  }

  /** One input for a replica; nothing happens while it is down. */
  input(replica: WorldReplica, input: Input): void {
    const { state } = replica;
    if (state === undefined) return;
    const context = { now: this.now, clockMs: this.now * tickMs, log: tenEntriesAtMost };
    const twin = nextFloat(this.prng) < 0.01 ? cloneRaftState(state) : undefined;
    const effects = checkedStep(state, input, context);
    if (twin !== undefined) {
      const again: Effect[] = [];
      step(twin, input, { ...context, effects: again });
      assert(fingerprint(twin) === fingerprint(state), 'a clone takes the same step');
      assert(JSON.stringify(again) === JSON.stringify(effects), 'a clone has the same effects');
    }
    for (const effect of effects) this.#carryOut(replica, state, effect);
  }

  /** Asks the leader `replica` for a read; checked when it is ready. */
  read(replica: WorldReplica): void {
    const readId = this.#nextReadId++;
    this.#reads.set(readId, this.committed.length - 1);
    this.input(replica, { kind: 'readIndex', readId });
  }

  /** Time passes, messages arrive, timers fire, every disk syncs up to `flushesMax` requests in one go. */
  advance(ticks: number, flushesMax = Number.POSITIVE_INFINITY): void {
    for (let tick = 0; tick < ticks; tick++) {
      this.now++;
      for (const replica of this.replicas) {
        this.flush(replica, flushesMax);
        if (replica.state !== undefined && nextTickDue(replica.state) <= this.now)
          this.input(replica, { kind: 'tick' });
      }
      this.deliver();
    }
  }

  /** Lets time pass until `holds`, for at most `ticksMax`. */
  advanceUntil(holds: () => boolean, ticksMax: number): void {
    for (let tick = 0; tick < ticksMax && !holds(); tick++) this.advance(1);
    assert(holds(), `it happens within ${ticksMax} ticks`);
  }

  /** Syncs up to `requestsMax` requests of a replica under one sync, then tells the core of each. */
  flush(replica: WorldReplica, requestsMax: number): void {
    const { disk, state } = replica;
    if (state === undefined) return;
    const batch = disk.queue.splice(0, Math.min(requestsMax, disk.queue.length));
    if (batch.length === 0) return;
    disk.ledgerSeq++;
    const completions: Input[] = [];
    for (const request of batch) {
      const completion = writeToDisk(disk, request);
      if (completion !== undefined) completions.push(completion);
    }
    disk.commitIndex = Math.max(
      disk.commitIndex,
      Math.min(state.commitIndex, disk.terms.length, state.durableIndex),
    );
    for (const completion of completions) this.input(replica, completion);
  }

  /** Hands over every message that is due. */
  deliver(): void {
    const due = this.#packets.filter((packet) => packet.at <= this.now);
    this.#packets = this.#packets.filter((packet) => packet.at > this.now);
    for (const { to, life, message } of due) {
      const replica = this.replica(to);
      if (lifeOf(to, replica.life) === life) this.input(replica, { kind: 'message', message });
    }
  }

  /** Any two logs with the same term at an index are equal up to it (Raft §5.3). */
  checkLogMatching(): void {
    const logs = this.replicas.map(({ disk, state }) =>
      state === undefined
        ? disk.terms
        : Array.from({ length: state.log.lastIndex }, (_, at) =>
            Number(termAt(state.log, logIndex(at + 1))),
          ),
    );
    for (const log of logs) {
      for (const other of logs) {
        let meeting = Math.min(log.length, other.length);
        while (meeting > 0 && log[meeting - 1] !== other[meeting - 1]) meeting--;
        for (let at = 0; at < meeting; at++)
          assert(log[at] === other[at], 'logs match (Raft §5.3)');
      }
    }
  }

  /** What a ledger keeps: the newest three whose entries are in the log. */
  #configurationsOf(terms: readonly number[]): readonly Configuration[] {
    const inLog = [...this.configurations.values()].filter(
      ({ term: own, index }) => terms[index - 1] === own,
    );
    const rising = inLog.toSorted((left, right) => left.index - right.index);
    return [this.configuration, ...rising].slice(-3);
  }

  #configurationsBetween(
    state: RaftState,
    append: { readonly prevIndex: number; readonly lastIndex: number },
  ): readonly Configuration[] {
    const found: Configuration[] = [];
    for (let index = append.prevIndex + 1; index <= append.lastIndex; index++) {
      const own = termAt(state.log, logIndex(index)) ?? 0;
      const configuration = this.configurations.get(`${own}/${index}`);
      if (configuration !== undefined) found.push(configuration);
    }
    return found;
  }

  #isCut(replica: WorldReplica, other: WorldReplica): boolean {
    return (
      this.#cut.has(`${replica.number}>${other.number}`) ||
      this.#cut.has(`${other.number}>${replica.number}`)
    );
  }

  /** A new connection between two replicas that are up: what was under way on the old one is lost. */
  #connect(replica: WorldReplica, other: WorldReplica): void {
    if (replica.state === undefined || other.state === undefined) return;
    const isBetween = ({ from, to }: Packet): boolean =>
      (from === replica.number && to === other.number) ||
      (from === other.number && to === replica.number);
    this.#packets = this.#packets.filter((packet) => !isBetween(packet));
    for (const [near, far] of [
      [replica, other],
      [other, replica],
    ] as const) {
      const newBoot = near.bootsSeen.get(far.number) !== far.boots;
      near.bootsSeen.set(far.number, far.boots);
      this.input(near, { kind: 'peerConnected', nodeId: nodeId(far.number), newBoot });
    }
  }

  #carryOut(replica: WorldReplica, state: RaftState, effect: Effect): void {
    const { queue } = replica.disk;
    switch (effect.kind) {
      case 'persistHardState':
        queue.push({ kind: 'hardState', term: effect.term, votedFor: effect.votedFor });
        return;
      case 'truncateLog':
        queue.push({ kind: 'truncate', fromIndex: effect.fromIndex });
        return;
      case 'appendToLog':
        if (effect.source === 'configuration') {
          const { configuration } = effect;
          this.configurations.set(`${configuration.term}/${configuration.index}`, configuration);
        }
        queue.push({
          kind: 'append',
          sequence: effect.appendSequence,
          firstIndex: effect.firstIndex,
          terms: termsOf(state, effect.firstIndex, effect.lastIndex),
        });
        return;
      case 'sendMessage':
        this.#checkSpoken(replica, effect.to, effect.message);
        this.#post(replica.number, effect.to, effect.message);
        return;
      case 'sendAppend':
        assert(
          effect.term <= replica.disk.term,
          'a term is durable before it is spoken of (KER-2)',
        );
        this.#post(replica.number, effect.to, {
          ...appendOf(replica.number, {
            ...effect,
            terms: termsOf(state, effect.prevIndex + 1, effect.lastIndex),
            configurations: this.#configurationsBetween(state, effect),
          }),
          fromIncarnation: lifeOf(replica.number, replica.life),
        });
        return;
      case 'configurationChanged':
      case 'transferAborted':
        return;
      case 'commitAdvanced':
        this.#checkCommit(replica, state, effect);
        return;
      case 'roleChanged':
        if (effect.role === 'leader') this.#checkReign(replica, state);
        return;
      case 'readReady':
        this.#checkRead(effect);
        return;
      case 'readFailed':
        this.#reads.delete(effect.readId);
        return;
      default:
        assert(
          false,
          `nothing asks for ${effect.kind} in a world without snapshots and lost disks`,
        );
    }
  }

  #post(from: number, to: Recipient, message: PeerMessage): void {
    const { lossRate, duplicateRate, lateRate, lateTicksMax } = this.weather;
    const isLost = nextFloat(this.prng) < lossRate;
    if (isLost || this.#cut.has(`${from}>${to.replicaId}`)) return;
    const copies = nextFloat(this.prng) < duplicateRate ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const delay =
        nextFloat(this.prng) < lateRate
          ? nextBelow(this.prng, lateTicksMax)
          : nextBelow(this.prng, 2);
      const life = to.incarnation;
      this.#packets.push({ at: this.now + delay, from, to: to.replicaId, life, message });
    }
  }

  /** Persist before speaking (KER-2), seen from the disk. */
  #checkSpoken(replica: WorldReplica, to: Recipient, message: OutgoingMessage): void {
    const { disk } = replica;
    const isAsked =
      message.kind === 'preVoteRequest' ||
      (message.kind === 'preVoteResponse' && message.voteGranted);
    assert(
      isAsked || message.term <= disk.term,
      'a term is durable before it is spoken of (KER-2)',
    );
    if (message.kind === 'voteResponse' && message.voteGranted) {
      assert(
        disk.votedFor?.replicaId === to.replicaId,
        'a vote is durable before it is given (KER-2)',
      );
    }
    if (message.kind === 'voteRequest') {
      assert(
        disk.votedFor?.replicaId === replica.number,
        "a candidate's vote is durable before it asks (KER-2)",
      );
    }
    if (message.kind === 'durabilityAck') {
      assert(
        message.lastFsyncedIndex <= disk.terms.length,
        'only durable entries are acknowledged (KER-2)',
      );
    }
  }

  #checkCommit(
    replica: WorldReplica,
    state: RaftState,
    commit: { readonly commitIndex: number; readonly appliableIndex: number },
  ): void {
    for (let index = replica.checkedCommit + 1; index <= commit.commitIndex; index++) {
      const own = Number(termAt(state.log, logIndex(index)));
      if (state.role === 'leader') this.committed[index] ??= own;
      assert(this.committed[index] === own, 'an index is committed with one entry');
      if (state.role !== 'leader') continue;
      const isDurable = hasQuorum(activeConfiguration(state), ({ replicaId, incarnation }) => {
        const voter = this.replica(replicaId);
        const isThisLife = lifeOf(voter.number, voter.life) === incarnation;
        return isThisLife && voter.disk.terms[index - 1] === own;
      });
      assert(isDurable, 'what is committed is durable at a quorum');
    }
    replica.checkedCommit = Math.max(replica.checkedCommit, commit.commitIndex);
    for (let index = replica.applied + 1; index <= commit.appliableIndex; index++) {
      assert(
        replica.disk.terms[index - 1] === this.committed[index],
        'what is applied is durable here and committed',
      );
    }
    replica.applied = Math.max(replica.applied, commit.appliableIndex);
  }

  #checkReign(replica: WorldReplica, state: RaftState): void {
    const other = this.leaders.get(state.term);
    assert(
      other === undefined || other === replica.number,
      `term ${state.term} has one leader (Raft §5.2)`,
    );
    this.leaders.set(state.term, replica.number);
    for (let index = 1; index < this.committed.length; index++) {
      assert(
        termAt(state.log, logIndex(index)) === this.committed[index],
        'a leader has every committed entry (Raft §5.4)',
      );
    }
  }

  #checkRead(ready: { readonly readId: number; readonly index: number }): void {
    const committedAtArrival = present(this.#reads.get(ready.readId), 'a read is answered once');
    this.#reads.delete(ready.readId);
    assert(ready.index >= committedAtArrival, 'a read sees what was committed when it arrived');
    this.readsReady++;
  }
}

function termsOf(state: RaftState, first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) =>
    Number(termAt(state.log, logIndex(first + at))),
  );
}
