/** What was promised in a world so far, and the checks that it is kept: the invariants of Raft as seen from outside. */
import { assert } from '../../src/base/assert.ts';
import { logIndex } from '../../src/base/ids.ts';
import type { Configuration, Member } from '../../src/base/membership.ts';
import { activeConfiguration, termAt, type Effect, type RaftState } from '../../src/raft/index.ts';
import { holdsEntry, lastIndexOf } from './disk.ts';
import type { ExploredPacket, ExploredReplica, Mark } from './world.ts';

/** Immutable; every change makes a new one. */
export class Promises {
  /** Terms of committed entries from index 1 on, each with the term in which it was committed. */
  readonly committed: readonly (readonly [number, number])[];
  /** Who led, by term. */
  readonly leaders: readonly (readonly [number, number])[];
  /** Lowest index that a waiting read may be answered with. */
  readonly reads: readonly (readonly [number, number])[];
  readonly configurations: readonly Configuration[];

  constructor(
    committed: readonly (readonly [number, number])[] = [],
    leaders: readonly (readonly [number, number])[] = [],
    reads: readonly (readonly [number, number])[] = [],
    configurations: readonly Configuration[] = [],
  ) {
    this.committed = committed;
    this.leaders = leaders;
    this.reads = reads;
    this.configurations = configurations;
  }

  /** Text that tells promises apart. */
  describe(): string {
    const changes = this.configurations.map(({ term, index }) => `${term}.${index}`);
    return `${this.committed.join(';')}|${this.leaders.join(';')}|${this.reads.join(';')}|${changes.sort().join()}`;
  }

  /** A configuration was appended. */
  withConfiguration(configuration: Configuration): Promises {
    return new Promises(this.committed, this.leaders, this.reads, [
      ...this.configurations,
      configuration,
    ]);
  }

  /** A read began: whatever is committed by now must be in its answer. */
  withRead(readId: number): Promises {
    return new Promises(
      this.committed,
      this.leaders,
      [...this.reads, [readId, this.committed.length]],
      this.configurations,
    );
  }

  /** The configurations that entries of a log brought, by rising index: of entries `first …` with the given terms. */
  configurationsAt(first: number, terms: readonly number[]): readonly Configuration[] {
    return this.configurations
      .filter(({ index, term }) => terms[index - first] === term)
      .sort((left, right) => left.index - right.index);
  }

  /** Checks an effect, and what it promises from now on. */
  after(
    effect: Effect,
    core: RaftState,
    replicas: readonly ExploredReplica[],
    marks: Set<Mark>,
  ): Promises {
    switch (effect.kind) {
      case 'roleChanged':
        return effect.role === 'leader' ? this.#elected(core, marks) : this;
      case 'commitAdvanced':
        return this.#committedUpTo(effect.commitIndex, core, { replicas, marks });
      case 'readReady':
        return this.#answered(effect, marks);
      case 'readFailed':
        return this.#withoutRead(effect.readId);
      default:
        return this;
    }
  }

  /** Persist before speaking (KER-2), seen from the disk. */
  checkSpoken(disk: ExploredReplica['disk'], { to, message }: ExploredPacket): void {
    const isAsked =
      message.kind === 'preVoteRequest' ||
      (message.kind === 'preVoteResponse' && message.voteGranted);
    assert(isAsked || message.term <= disk.term, 'a term is durable before it is spoken of');
    if (message.kind === 'voteResponse' && message.voteGranted)
      assert(Number(disk.votedFor?.replicaId) === to, 'a vote is durable before it is given');
    if (message.kind === 'voteRequest')
      assert(
        disk.votedFor?.replicaId === message.fromReplica,
        "a candidate's vote is durable before it asks",
      );
    if (message.kind === 'durabilityAck')
      assert(
        message.lastFsyncedIndex <= lastIndexOf(disk),
        'only durable entries are acknowledged',
      );
  }

  /** Logs with the same term at an index are equal up to it (Raft §5.3). */
  checkLogs(at: number, replicas: readonly ExploredReplica[]): void {
    const own = replicas[at];
    if (own === undefined) return;
    for (const other of replicas) {
      if (other === own) continue;
      let isMeeting = false;
      const last = Math.min(own.core.log.lastIndex, other.core.log.lastIndex);
      const first = Math.max(own.core.log.baseIndex, other.core.log.baseIndex, 1);
      for (let index = last; index >= first; index--) {
        const isEqual =
          termAt(own.core.log, logIndex(index)) === termAt(other.core.log, logIndex(index));
        assert(!isMeeting || isEqual, 'logs match below an equal entry');
        isMeeting ||= isEqual;
      }
    }
  }

  #elected(core: RaftState, marks: Set<Mark>): Promises {
    const self = Number(core.selfReplica);
    const known = this.leaders.find(([term]) => term === core.term);
    assert(known === undefined || known[1] === self, 'a term has one leader');
    // A leader of an older term, elected late, need not know what was committed after its term.
    for (const [position, [term, committedIn]] of this.committed.entries())
      assert(
        committedIn >= core.term ||
          position + 1 < core.log.baseIndex ||
          termAt(core.log, logIndex(position + 1)) === term,
        'a leader has every entry that was committed before its term',
      );
    marks.add('elected');
    if (known !== undefined) return this;
    return new Promises(
      this.committed,
      [...this.leaders, [core.term, self] as const].sort(([left], [right]) => left - right),
      this.reads,
      this.configurations,
    );
  }

  #committedUpTo(
    commitIndex: number,
    core: RaftState,
    around: { readonly replicas: readonly ExploredReplica[]; readonly marks: Set<Mark> },
  ): Promises {
    const committed = [...this.committed];
    const { baseIndex } = core.log;
    assert(baseIndex <= committed.length, 'a snapshot stands for committed entries only');
    for (let index = Math.max(baseIndex, 1); index <= commitIndex; index++) {
      const term = Number(termAt(core.log, logIndex(index)));
      const known = committed[index - 1]?.[0];
      assert(known === undefined || known === term, 'an index is committed with one entry');
      if (known !== undefined) continue;
      assert(core.role === 'leader', 'a leader commits first');
      const isDurable = isHeldByMajorities(activeConfiguration(core), ({ replicaId }) => {
        const voter = around.replicas.find((replica) => replica.core.selfReplica === replicaId);
        return voter !== undefined && holdsEntry(voter.disk, index, term);
      });
      assert(isDurable, 'what is committed is durable at a quorum');
      committed.push([term, core.term]);
      around.marks.add('committed');
      if (term > 1) around.marks.add('newTermCommit');
    }
    return committed.length === this.committed.length
      ? this
      : new Promises(committed, this.leaders, this.reads, this.configurations);
  }

  #answered(read: { readonly readId: number; readonly index: number }, marks: Set<Mark>): Promises {
    const known = this.reads.find(([readId]) => readId === read.readId);
    assert(known !== undefined, 'a read is answered once');
    assert(read.index >= known[1], 'a read sees everything committed before it');
    marks.add('read');
    return this.#withoutRead(read.readId);
  }

  #withoutRead(readId: number): Promises {
    return new Promises(
      this.committed,
      this.leaders,
      this.reads.filter(([known]) => known !== readId),
      this.configurations,
    );
  }
}

/** More than half of the voters of each list that is there; counted here, so that the core's own counting is checked as well. */
function isHeldByMajorities(
  { members, outgoingMembers }: Configuration,
  holds: (member: Member) => boolean,
): boolean {
  return [members, outgoingMembers]
    .filter((half) => half.length > 0)
    .every((half) => {
      const voters = half.filter((member) => member.role === 'voter');
      return 2 * voters.filter(holds).length > voters.length;
    });
}
