/**
 * Where an operator's changes of membership and leadership arrive at a replica, and wait for their end.
 *
 * The core knows how a change runs; here is decided whether one may begin: who leads, what is in flight, who has caught up,
 * what losses the new voters survive. Every refusal names its clause. A caller that hears `CLUSTOR_LEADERSHIP_LOST` asks the
 * next leader the same again: a change that is done already is answered as done.
 */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, NodeId } from '../base/ids.ts';
import type { Configuration, Member, MemberRole } from '../base/membership.ts';
import {
  judgeSurvivability,
  survivabilityOf,
  type Survivability,
  type SurvivabilityPolicy,
  type SurvivabilityVerdict,
} from '../policy/survivability.ts';
import type { Clock } from '../ports/clock.ts';
import type { Entropy } from '../ports/entropy.ts';
import {
  activeConfiguration,
  handOverWaitTicks,
  hasCaughtUp,
  isJoint,
  membershipBlock,
  tickMs,
  votersOf,
  type MembershipBlock,
  type Progress,
} from '../raft/index.ts';
import { freshIncarnation } from './bootstrap.ts';
import { isSameList, membersAfter, phaseOf } from './member-lists.ts';
import { parseAddress } from './node-address.ts';
import type { PeerLinks } from './peer-links.ts';
import type { Replica } from './replica.ts';

/** A node that is to receive the log without being counted. @public */
export interface MemberToAdd {
  readonly nodeId: NodeId;
  /** `host:port` of the node's TLS port, most preferred first. */
  readonly addresses: readonly string[];
  readonly role: Exclude<MemberRole, 'voter'>;
}

/** Which members are to be voters, or to be gone. Members not named stay what they are. @public */
export interface VoterChange {
  /** Nodes of learners that are to vote. */
  readonly promote: readonly NodeId[];
  /** Nodes whose replicas are to leave. */
  readonly remove: readonly NodeId[];
  /** Fault domain by node; a node without one is a domain of its own. */
  readonly domains: ReadonlyMap<NodeId, string>;
  readonly policy: SurvivabilityPolicy;
  /** Names the record of a decision to go below what is demanded; only with the policy `advisory`. */
  readonly overrideRef: string;
}

/** What a change would do, or why it cannot begin. @public */
export interface VoterPlan {
  readonly before: readonly Member[];
  readonly after: readonly Member[];
  /** `none` when there is nothing to do. */
  readonly phase: 'none' | 'learners' | 'joint';
  readonly survivabilityBefore: Survivability;
  readonly survivabilityAfter: Survivability;
  readonly verdict: SurvivabilityVerdict;
  /** Why it cannot begin now, if so. */
  readonly refusal: ClustorError | undefined;
}

/** How a change ended. @public */
export interface MembershipOutcome {
  /** Whether the old configuration is in force again. */
  readonly isRolledBack: boolean;
  /** Index of the entry that brought the configuration now in force. */
  readonly index: LogIndex;
  readonly members: readonly Member[];
}

/** What a desk needs from its node. */
export interface MembershipDeskOptions {
  readonly replica: Replica;
  readonly links: PeerLinks;
  readonly clock: Clock;
  readonly entropy: Entropy;
}

interface Waiter {
  /** Looks at the state anew; `undefined` while it is not decided. */
  readonly look: () => ClustorError | (() => void) | undefined;
  readonly reject: (error: ClustorError) => void;
  /** To be called when the waiter goes: a deadline that is left behind keeps the process alive. */
  readonly cancelDeadline: () => void;
}

const blockMessages: Readonly<Record<Exclude<MembershipBlock, 'notLeader'>, string>> = {
  termStartUncommitted: 'no entry of this term is committed yet',
  jointPhase: 'a change of voters is under way',
  changeUncommitted: 'the last change is not committed yet',
  transferUnderWay: 'leadership is being handed over',
};
/** A node that is to be added must be reached within this time. */
const reachMsMax = 5_000;
/** Observers of one partition (specification §3.0). */
const observersMax = 2;
/** Heard within this many ticks, a voter counts as alive. */
const aliveTicks = 100;

/** See the file comment. */
export class MembershipDesk {
  readonly #options: MembershipDeskOptions;
  readonly #waiters = new Set<Waiter>();
  readonly #adding = new Set<NodeId>();
  #isClosed = false;

  constructor(options: MembershipDeskOptions) {
    this.#options = options;
  }

  /**
   * Creates a replica on the node and takes it in as a learner or observer. Done at once when it is a member already.
   * @throws ClustorError `CLUSTOR_NOT_LEADER`, `CLUSTOR_MEMBERSHIP_BLOCKED`, `CLUSTOR_NODE_UNREACHABLE`, … After
   * `CLUSTOR_DEADLINE_EXCEEDED` the node may host a life that is no member; the next attempt puts another one in its place.
   */
  async addMember(wanted: MemberToAdd, deadlineMs: number): Promise<MembershipOutcome> {
    const { replica, entropy } = this.#options;
    const untilMs = this.#options.clock.monotonicMs() + deadlineMs;
    this.#mustNotBeBlocked();
    const known = this.#memberOn(wanted.nodeId);
    if (known !== undefined) return outcomeOf(activeConfiguration(replica.state), false);
    this.#mustHaveRoomFor(wanted.role);
    if (wanted.addresses.length === 0)
      throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', 'a new member needs an address');
    const member: Member = {
      replicaId: wanted.nodeId as number as Member['replicaId'],
      nodeId: wanted.nodeId,
      incarnation: freshIncarnation(entropy),
      role: wanted.role,
      addresses: wanted.addresses,
    };
    // A second wish would make another life of the replica than the one that becomes a member.
    if (this.#adding.has(wanted.nodeId))
      throw blocked(`node ${wanted.nodeId} is being added already`);
    this.#adding.add(wanted.nodeId);
    try {
      await this.#createReplica(member, untilMs);
    } finally {
      this.#adding.delete(wanted.nodeId);
    }
    // The world may have moved on while the node made its files.
    this.#mustNotBeBlocked();
    if (this.#memberOn(wanted.nodeId) !== undefined)
      throw blocked(`node ${wanted.nodeId} became a member meanwhile`);
    this.#mustHaveRoomFor(wanted.role);
    replica.input({
      kind: 'changeConfiguration',
      members: [...activeConfiguration(replica.state).members, member],
    });
    return this.#untilSettled(untilMs);
  }

  /**
   * Works out what a change of voters would do, and whether it may begin. Nodes to be promoted that are no members yet are
   * taken as if they had been added and had caught up; the refusal then says that they must be.
   */
  planVoters(change: VoterChange): VoterPlan {
    const before = activeConfiguration(this.#options.replica.state).members;
    const after = membersAfter(before, change);
    const survivabilityBefore = this.#survivability(before, change);
    const survivabilityAfter = this.#survivability(after, change);
    const verdict = judgeSurvivability(survivabilityBefore, survivabilityAfter, change);
    return {
      before,
      after,
      phase: phaseOf(before, after),
      survivabilityBefore,
      survivabilityAfter,
      verdict,
      refusal: this.#voterRefusal(change, before, after) ?? refusalOf(verdict),
    };
  }

  /** Changes the voters in one step, through a joint phase. @throws ClustorError with the first clause that refuses. */
  async changeVoters(change: VoterChange, deadlineMs: number): Promise<MembershipOutcome> {
    const { replica, clock } = this.#options;
    const plan = this.planVoters(change);
    if (plan.phase === 'none' && plan.refusal === undefined)
      return outcomeOf(activeConfiguration(replica.state), false);
    if (plan.refusal !== undefined) throw plan.refusal;
    replica.input({ kind: 'changeConfiguration', members: plan.after });
    return this.#untilSettled(
      clock.monotonicMs() + deadlineMs,
      (members) => !isSameList(members, plan.after),
    );
  }

  /** Leaves a joint phase for the old configuration as soon as that is safe. */
  async rollBack(reason: string, deadlineMs: number): Promise<MembershipOutcome> {
    const { replica, clock } = this.#options;
    if (!replica.isLeader) throw replica.notLeader();
    const active = activeConfiguration(replica.state);
    if (!isJoint(active))
      throw blocked('no change of voters is under way that could be rolled back');
    replica.input({ kind: 'rollBack', reason });
    return this.#untilSettled(clock.monotonicMs() + deadlineMs, (members) =>
      isSameList(members, active.outgoingMembers),
    );
  }

  /** Hands leadership to the voter on a node; resolves once another replica is known to lead. */
  async transferLeadership(to: NodeId, deadlineMs: number): Promise<NodeId> {
    const { replica, clock } = this.#options;
    if (!replica.isLeader) throw replica.notLeader();
    const member = this.#memberOn(to);
    if (member?.role !== 'voter')
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `node ${to} holds no voter of this partition`,
      );
    if (member.nodeId === this.#selfNode()) return to;
    const under = replica.state.leader?.transfer;
    if (under !== undefined && under.to.incarnation !== member.incarnation)
      throw blocked('leadership is being handed to another node');
    const waitMs = handOverWaitTicks(replica.state) * tickMs;
    if (under === undefined && waitMs > 0) throw tooNew(waitMs);
    replica.input({
      kind: 'transferLeadership',
      to: member,
      reason: `an operator wants node ${to} to lead`,
    });
    const term = replica.state.term;
    return this.#wait(clock.monotonicMs() + deadlineMs, () => {
      const { state, leaderNodeId } = replica;
      if (state.role === 'leader' && state.term === term)
        return state.leader?.transfer === undefined ? transferAborted(to) : undefined;
      return leaderNodeId === undefined ? undefined : { value: leaderNodeId };
    });
  }

  /** Nodes that are making files for a replica: no member yet, and spoken with. */
  get adding(): ReadonlySet<NodeId> {
    return this.#adding;
  }

  /** To be called when anything changed that somebody may wait for. */
  review(): void {
    for (const waiter of [...this.#waiters]) {
      const verdict = waiter.look();
      if (verdict === undefined) continue;
      this.#waiters.delete(waiter);
      waiter.cancelDeadline();
      if (verdict instanceof ClustorError) waiter.reject(verdict);
      else verdict();
    }
  }

  /** Nobody waits any more. */
  close(): void {
    this.#isClosed = true;
    this.review();
  }

  #selfNode(): NodeId {
    return this.#options.replica.state.selfNode;
  }

  #memberOn(nodeId: NodeId): Member | undefined {
    return activeConfiguration(this.#options.replica.state).members.find(
      (member) => member.nodeId === nodeId,
    );
  }

  #mustNotBeBlocked(): void {
    const refusal = this.#blockRefusal();
    if (refusal !== undefined) throw refusal;
  }

  #mustHaveRoomFor(role: MemberToAdd['role']): void {
    const { members } = activeConfiguration(this.#options.replica.state);
    const observers = members.filter((member) => member.role === 'observer').length;
    if (role === 'observer' && observers >= observersMax)
      throw new ClustorError(
        'CLUSTOR_TOO_MANY_OBSERVERS',
        `the partition has ${observers} observers, at most ${observersMax} are taken`,
      );
  }

  #blockRefusal(): ClustorError | undefined {
    const { replica } = this.#options;
    const block = membershipBlock(replica.state);
    if (block === undefined) return undefined;
    return block === 'notLeader' ? replica.notLeader() : blocked(blockMessages[block], block);
  }

  #voterRefusal(
    change: VoterChange,
    before: readonly Member[],
    after: readonly Member[],
  ): ClustorError | undefined {
    const block = this.#blockRefusal();
    if (block !== undefined) return block;
    for (const nodeId of change.promote) {
      const member = before.find((candidate) => candidate.nodeId === nodeId);
      if (member === undefined)
        return new ClustorError(
          'CLUSTOR_INVALID_ARGUMENT',
          `node ${nodeId} is no member; add it as a learner first`,
        );
      const behind = member.role === 'voter' ? undefined : this.#behind(member);
      if (behind !== undefined) return behind;
    }
    if (votersOf(after).length === 0)
      return new ClustorError('CLUSTOR_INVALID_ARGUMENT', 'a partition needs a voter');
    return undefined;
  }

  /** Why a learner may not vote yet (specification §3.1: within 4 MiB or 1,024 entries). */
  #behind(member: Member): ClustorError | undefined {
    const { replica } = this.#options;
    const row = this.#row(member);
    if (
      row !== undefined &&
      row.isMatchKnown &&
      hasCaughtUp(replica.state, { log: replica.tail }, row.matchIndex)
    )
      return undefined;
    const lacking = replica.state.log.lastIndex - (row?.matchIndex ?? 0);
    return new ClustorError(
      'CLUSTOR_LEARNER_BEHIND',
      `the learner on node ${member.nodeId} lacks ${lacking} entries`,
      { details: { nodeId: member.nodeId, lackingEntries: lacking } },
    );
  }

  #row(member: Member): Progress | undefined {
    return this.#options.replica.state.leader?.progress.find(
      (row) => row.member.incarnation === member.incarnation,
    );
  }

  #survivability(members: readonly Member[], change: VoterChange): Survivability {
    const { state } = this.#options.replica;
    const known = activeConfiguration(state).members;
    return survivabilityOf(
      votersOf(members).map((voter) => {
        const row = this.#row(voter);
        const isHeard = row !== undefined && !row.inDoubt && state.now - row.heardTick < aliveTicks;
        const isHypothetical = !known.some((member) => member.nodeId === voter.nodeId);
        return {
          domain: change.domains.get(voter.nodeId) ?? `node ${voter.nodeId}`,
          isAlive: voter.nodeId === state.selfNode || isHeard || isHypothetical,
        };
      }),
    );
  }

  /** Has the node make the files of the new replica, before the log speaks of it. */
  async #createReplica(member: Member, untilMs: number): Promise<void> {
    const { replica, links, clock } = this.#options;
    const reachMs = Math.round(Math.min(untilMs - clock.monotonicMs(), reachMsMax));
    const link = links.ensure(member.nodeId, member.addresses.map(parseAddress));
    const isUp = await this.#reached(member.nodeId, reachMs);
    if (!isUp || link === undefined)
      throw new ClustorError(
        'CLUSTOR_NODE_UNREACHABLE',
        `node ${member.nodeId} was not reached at ${member.addresses.join(', ')} within ${reachMs} ms`,
      );
    const { members, index } = activeConfiguration(replica.state);
    const { partitionId } = replica;
    const { replicaId, incarnation } = member;
    const { term } = replica.state;
    await link.createReplica(
      {
        partitionId,
        replicaId,
        incarnation,
        members: [...members, member],
        asOfIndex: index,
        term,
      },
      untilMs - clock.monotonicMs(),
    );
  }

  async #reached(nodeId: NodeId, reachMs: number): Promise<boolean> {
    const { links, clock } = this.#options;
    const untilMs = clock.monotonicMs() + reachMs;
    while (links.get(nodeId)?.isUp !== true) {
      if (clock.monotonicMs() >= untilMs || this.#isClosed) return false;
      await new Promise<void>((resolve) => {
        clock.setTimer(20, resolve);
      });
    }
    return true;
  }

  /** Resolves once a simple configuration is in force and committed; its members say whether that is the old one. */
  #untilSettled(
    untilMs: number,
    isRolledBack: (members: readonly Member[]) => boolean = () => false,
  ): Promise<MembershipOutcome> {
    const { replica } = this.#options;
    const { term } = replica.state;
    return this.#wait(untilMs, () => {
      const { state } = replica;
      const active = activeConfiguration(state);
      const isSettled = !isJoint(active) && active.index <= state.commitIndex;
      // A leader that removed itself has stepped down by the time its change is committed.
      if (isSettled && (state.term === term || state.role === 'leader'))
        return { value: outcomeOf(active, isRolledBack(active.members)) };
      return state.role === 'leader' && state.term === term ? undefined : lost();
    });
  }

  #wait<T>(
    untilMs: number,
    look: () => { readonly value: T } | ClustorError | undefined,
  ): Promise<T> {
    const { clock } = this.#options;
    return new Promise<T>((resolve, reject) => {
      const waiter: Waiter = {
        look: () => {
          if (this.#isClosed) return lost();
          const verdict = look();
          if (verdict === undefined || verdict instanceof ClustorError) return verdict;
          return () => {
            resolve(verdict.value);
          };
        },
        reject,
        cancelDeadline: clock.setTimer(Math.max(0, untilMs - clock.monotonicMs()), () => {
          this.#waiters.delete(waiter);
          reject(
            new ClustorError(
              'CLUSTOR_DEADLINE_EXCEEDED',
              'the change goes on; look at `clustor members list` for how it ends',
            ),
          );
        }),
      };
      this.#waiters.add(waiter);
      this.review();
    });
  }
}

function outcomeOf({ index, members }: Configuration, isRolledBack: boolean): MembershipOutcome {
  return { isRolledBack, index, members };
}

function blocked(message: string, clause = 'Other'): ClustorError {
  return new ClustorError('CLUSTOR_MEMBERSHIP_BLOCKED', message, { details: { clause } });
}

function lost(): ClustorError {
  return new ClustorError(
    'CLUSTOR_LEADERSHIP_LOST',
    'this node stopped leading before the change was settled; ask the next leader',
  );
}

function tooNew(waitMs: number): ClustorError {
  return new ClustorError(
    'CLUSTOR_LEADER_TOO_NEW',
    `the leader was elected just now; it may hand over in ${waitMs} ms`,
    { details: { retryAfterMs: waitMs } },
  );
}

function transferAborted(to: NodeId): ClustorError {
  return new ClustorError(
    'CLUSTOR_TRANSFER_ABORTED',
    `node ${to} did not take over within an election timeout; the leader goes on`,
  );
}

function refusalOf(verdict: SurvivabilityVerdict): ClustorError | undefined {
  return verdict.kind === 'refused'
    ? new ClustorError('CLUSTOR_SURVIVABILITY', verdict.reason)
    : undefined;
}
