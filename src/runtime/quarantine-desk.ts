/**
 * A replica's `Integrity` quarantine: begins when durable entries cannot be read, ends when they are whole again (specification
 * §5.6, KER-9). Meanwhile it neither votes nor acknowledges, applies nothing more, and refuses reads.
 *
 * The record is durable before anything more is said. Then entries are asked for, one range at a time, of every member in
 * turn; what comes is believed only with evidence that both logs share, and after its frames were verified. It is written
 * anew, its place is recorded, and when nothing is missing up to the highest covered index, the record that ends the
 * quarantine is written: only then does this replica vote again. A crash anywhere leaves a quarantine with what is still
 * missing. The third within a day is not ended without an operator.
 */
import { present } from '../base/assert.ts';
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, NodeId } from '../base/ids.ts';
import { isSameLife, type Member } from '../base/membership.ts';
import { coarsened, countOf, type IndexRange } from '../base/index-ranges.ts';
import {
  quarantineRangesMax,
  quarantinesKept,
  type QuarantineRow,
} from '../codec/ledger-records.ts';
import { needsOperator, repairDelayMs } from '../policy/scrub.ts';
import type { Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';
import { activeConfiguration, allMembers, selfLife } from '../raft/index.ts';
import type { RecoveredPartition } from '../storage/log-store-types.ts';
import type { HoldStatus } from './hold-desk.ts';
import { KnownLog, type LogPosition } from './known-log.ts';
import type { PeerLinks } from './peer-links.ts';
import { checkRepair } from './repair-check.ts';
import { RepairServer, type RepairRequest, type RepairResponse } from './repair-server.ts';
import type { Replica } from './replica.ts';
import type { TurnScheduler } from './turn.ts';

/** How an `Integrity` quarantine stands. @public */
export interface IntegrityStatus {
  readonly reason: 'Integrity';
  /** For how long, in milliseconds of the wall clock. */
  readonly sinceMs: number;
  /** Entries that are still missing. */
  readonly missing: readonly IndexRange[];
  readonly missingCount: number;
  /** The last entry of the log, missing or not: only who has it, or one nearer to the damage, can help. */
  readonly end: LogPosition;
  /** Entries repaired by this process. */
  readonly repairedCount: number;
  /** Rounds over all members in vain since the last success. */
  readonly attempts: number;
  /** The node that is being asked. */
  readonly askedNodeId: NodeId | undefined;
  /** Everything is repaired, and an operator has to end it. */
  readonly awaitsOperator: boolean;
}

/** How a quarantine of a replica stands. @public */
export type QuarantineStatus = IntegrityStatus | HoldStatus;

/** What a desk needs. */
export interface QuarantineDeskOptions {
  readonly replica: Replica;
  readonly recovered: RecoveredPartition;
  readonly links: PeerLinks;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly turn: TurnScheduler;
}

interface Asked {
  readonly sequence: number;
  readonly member: Member;
  readonly range: IndexRange;
  readonly evidence: readonly LogPosition[];
}

/** A peer that does not answer for so long is passed over; longer with each round in vain. */
const answerMs = 1_000;
const answerMsMax = 16_000;
/** Rounds in vain behind which a snapshot is wanted instead of entries: a request may be lost, or come too early. */
const vainRoundsMax = 3;
/** Entries asked for at once; an answer has about a MiB. */
const rangeEntriesMax = 65_536;

/** See the file comment. */
export class QuarantineDesk {
  readonly #options: QuarantineDeskOptions;
  readonly #server: RepairServer;
  #known: KnownLog | undefined;
  /** The core began with the part of its log before the damage. */
  #isPartial = false;
  #begunMs: readonly number[] = [];
  #sinceMs = 0;
  #asked: Asked | undefined;
  #sequence = 0;
  #memberAt = 0;
  /** Members asked in vain in this round. */
  #refusals = 0;
  #attempts = 0;
  /** Of these, rounds in which somebody was asked. */
  #vainRounds = 0;
  #repairedCount = 0;
  #isWriting = false;
  #isRecording = false;
  #awaitsOperator = false;
  #cancelTimer: (() => void) | undefined;
  /** A snapshot is being put in the place of the damaged log. */
  #isRescuing = false;
  #isClosed = false;

  constructor(options: QuarantineDeskOptions) {
    this.#options = options;
    const { replica, links } = options;
    this.#server = new RepairServer({
      state: replica.state,
      log: replica.log,
      links,
      known: () => this.#known,
    });
    const { quarantine } = options.recovered;
    if (quarantine === undefined) return;
    const row = present(replica.log.quarantine, 'a recovered quarantine is in the ledger');
    this.#known = KnownLog.ofRecovered(options.recovered, quarantine);
    this.#isPartial = true;
    this.#begunMs = row.begunMs;
    this.#sinceMs = row.sinceMs;
    this.#enter();
  }

  /** How the quarantine stands, while there is one. */
  get status(): IntegrityStatus | undefined {
    const known = this.#known;
    if (known === undefined) return undefined;
    return {
      reason: 'Integrity',
      sinceMs: Math.max(0, Math.round(this.#options.clock.wallMs() - this.#sinceMs)),
      missing: known.missing,
      missingCount: countOf(known.missing),
      end: known.end,
      repairedCount: this.#repairedCount,
      attempts: this.#attempts,
      askedNodeId: this.#asked?.member.nodeId,
      awaitsOperator: this.#awaitsOperator,
    };
  }

  /** Goes on with what an earlier process left; called once. */
  begin(): void {
    const known = this.#known;
    if (known === undefined) return;
    this.#emit('error', 'quarantined', { reason: 'Integrity', missing: textOf(known.missing) });
    this.#next();
  }

  /** Entries that were durable once cannot be read. */
  damaged(range: IndexRange): void {
    const { replica, clock } = this.#options;
    const { state } = replica;
    if (this.#isClosed || (state.hasLostEvidence && !state.isQuarantined)) return;
    // What is not durable yet may be read before it is written; that is no damage.
    const lastIndex = Math.min(range.lastIndex, this.#known?.durableIndex ?? state.durableIndex);
    // What a snapshot stands for is needed no more.
    const firstIndex = Math.max(range.firstIndex, replica.log.baseIndex + 1) as LogIndex;
    if (lastIndex < firstIndex) return;
    const damaged = { firstIndex, lastIndex: lastIndex as LogIndex };
    if (this.#known !== undefined) {
      if (!this.#known.damaged(damaged)) return;
      // The operator who was called would be refused now; one is called again when this is repaired too.
      this.#awaitsOperator = false;
      this.#enter();
      this.#record(true);
      return;
    }
    this.#known = KnownLog.ofCore(state);
    this.#known.damaged(damaged);
    this.#isPartial = false;
    this.#awaitsOperator = false;
    this.#sinceMs = clock.wallMs();
    const before = replica.log.quarantine?.begunMs ?? [];
    this.#begunMs = [...before, this.#sinceMs].slice(-quarantinesKept);
    replica.isMuted = true;
    this.#enter();
    this.#record(true);
    replica.input({ kind: 'quarantine' });
    this.#emit('error', 'quarantined', { reason: 'Integrity', missing: textOf([damaged]) });
  }

  /** A peer can be asked again; what it was asked, or answered, by the link before may be lost. */
  peerConnected(nodeId: NodeId): void {
    if (this.#known === undefined) return;
    if (this.#asked !== undefined) {
      if (this.#asked.member.nodeId !== nodeId) return;
      this.#asked = undefined;
      // A link that comes and goes does not keep the others from being asked, nor a round from its end.
      this.#memberAt++;
    } else this.#refusals = 0;
    this.#next();
  }

  /** Up to where a snapshot must reach to end this: the own end, once whoever can be reached was asked for entries in vain. */
  get rescueIndex(): LogIndex | undefined {
    const known = this.#known;
    const isStuck = this.#vainRounds >= vainRoundsMax && (known?.missing.length ?? 0) > 0;
    return isStuck && !this.#isRescuing ? known?.end.index : undefined;
  }

  /** Whether nothing is being written of the repair. */
  get mayBeRescued(): boolean {
    return !this.#isWriting && !this.#isRecording;
  }

  /** A snapshot that reaches to the end of the log is put in its place: entries are asked for no more. */
  beginRescue(): void {
    this.#isRescuing = true;
    this.#asked = undefined;
    this.#cancelTimer?.();
  }

  /** The log is the snapshot now: nothing of it is missing. */
  endRescue(): void {
    this.#isRescuing = false;
    this.#known = KnownLog.ofCore(this.#options.replica.state);
    this.#isPartial = false;
    this.#attempts = 0;
    this.#vainRounds = 0;
    this.#refusals = 0;
    this.#enter();
    this.#next();
  }

  /** A damaged peer asks for entries. */
  serve(fromNode: NodeId, request: RepairRequest): void {
    void this.#server.serve(fromNode, request);
  }

  /** A peer answered. */
  answered(response: RepairResponse): void {
    const asked = this.#asked;
    const known = this.#known;
    if (asked === undefined || known === undefined || response.sequence !== asked.sequence) return;
    if (
      response.fromReplica !== asked.member.replicaId ||
      response.fromIncarnation !== asked.member.incarnation
    )
      return;
    if (response.outcome !== 'entries') {
      this.#refused();
      return;
    }
    const check = checkRepair(response, { known, asked });
    if (check.kind === 'bad') {
      this.#emit('warn', 'repairRefused', {
        nodeId: asked.member.nodeId,
        detail: check.reason,
      });
      this.#refused();
      return;
    }
    this.#asked = undefined;
    this.#cancelTimer?.();
    this.#isWriting = true;
    this.#options.replica.log.repair(check.batch, () => {
      this.#isWriting = false;
      known.repaired(check.pieces);
      this.#repairedCount += response.entryCount;
      this.#attempts = 0;
      this.#vainRounds = 0;
      this.#refusals = 0;
      this.#next();
    });
    this.#options.turn.schedule();
  }

  /**
   * Ends a quarantine that waits for an operator.
   * @throws ClustorError `CLUSTOR_QUARANTINED` while entries are missing, `CLUSTOR_INVALID_ARGUMENT` where there is none.
   */
  clear(ticket: string): void {
    const known = this.#known;
    const { partitionId } = this.#options.replica;
    if (known === undefined)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `the replica of partition ${partitionId} on this node is in no quarantine that an operator can end`,
      );
    if (known.missing.length > 0)
      throw new ClustorError(
        'CLUSTOR_QUARANTINED',
        `entries ${textOf(known.missing)} of partition ${partitionId} are not repaired yet`,
      );
    this.#finish(ticket);
  }

  /** Nothing is asked or written any more. */
  close(): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
  }

  /** The next step of the repair, if none is under way. */
  #next(): void {
    const known = this.#known;
    if (known === undefined || this.#isClosed || this.#isRecording || this.#isWriting) return;
    if (this.#asked !== undefined || this.#isRescuing) return;
    this.#cancelTimer?.();
    const [range] = known.missing;
    if (range === undefined) this.#finish(undefined);
    else this.#ask(known, range);
  }

  #ask(known: KnownLog, missing: IndexRange): void {
    const { replica, links, clock } = this.#options;
    const members = this.#members().filter(({ nodeId }) => links.get(nodeId)?.isUp === true);
    const member = members[this.#memberAt % Math.max(1, members.length)];
    if (member === undefined || this.#refusals >= members.length) {
      this.#againLater();
      return;
    }
    const lastIndex = Math.min(missing.lastIndex, missing.firstIndex + rangeEntriesMax - 1);
    const range = { firstIndex: missing.firstIndex, lastIndex: lastIndex as LogIndex };
    const evidence = known.evidenceFrom(range.lastIndex);
    this.#asked = { sequence: ++this.#sequence, member, range, evidence };
    const { state, partitionId } = replica;
    links.get(member.nodeId)?.send({
      kind: 'repairRequest',
      partitionId,
      toIncarnation: member.incarnation,
      fromReplica: state.selfReplica,
      fromIncarnation: state.selfIncarnation,
      sequence: this.#sequence,
      ...range,
      evidence,
    });
    // Rounds without a peer say nothing about how long one needs.
    const waitMs = Math.min(answerMs * 2 ** Math.min(this.#vainRounds, 16), answerMsMax);
    this.#cancelTimer = clock.setTimer(waitMs, () => {
      this.#refused();
    });
  }

  #enter(): void {
    const missing = textOf(this.#known?.missing ?? []);
    this.#options.replica.gate.enter('Integrity', `entries ${missing} cannot be read`);
  }

  #members(): readonly Member[] {
    const { state } = this.#options.replica;
    const self = selfLife(state);
    return allMembers(activeConfiguration(state)).filter((member) => !isSameLife(member, self));
  }

  /** The peer that was asked cannot help; the next one may. */
  #refused(): void {
    this.#asked = undefined;
    this.#cancelTimer?.();
    this.#memberAt++;
    this.#refusals++;
    this.#next();
  }

  #againLater(): void {
    if (this.#refusals > 0) this.#vainRounds++;
    this.#refusals = 0;
    const delayMs = repairDelayMs(this.#attempts++);
    this.#cancelTimer = this.#options.clock.setTimer(delayMs, () => {
      this.#next();
    });
  }

  /** Nothing is missing any more. */
  #finish(ticket: string | undefined): void {
    if (this.#isRecording || this.#isWriting) return;
    const { clock } = this.#options;
    if (ticket === undefined && needsOperator(this.#begunMs, clock.wallMs())) {
      if (!this.#awaitsOperator)
        this.#emit('error', 'quarantineAwaitsOperator', { quarantines: this.#begunMs.length });
      this.#awaitsOperator = true;
      return;
    }
    this.#record(false, () => {
      this.#cleared(ticket);
    });
  }

  #cleared(ticket: string | undefined): void {
    const known = this.#known;
    const { replica } = this.#options;
    // Damage that was found meanwhile has been recorded behind it.
    if (known === undefined || known.missing.length > 0) return;
    this.#known = undefined;
    this.#awaitsOperator = false;
    this.#attempts = 0;
    const log = this.#isPartial ? known.whole() : undefined;
    replica.input({ kind: 'repaired', log });
    replica.gate.leave('Integrity');
    this.#emit('info', 'quarantineCleared', { repaired: this.#repairedCount, ticket });
    this.#repairedCount = 0;
  }

  /** Records how the quarantine stands; the repair goes on once that is durable. */
  #record(isActive: boolean, then?: () => void): void {
    const { replica, turn } = this.#options;
    const ranges = coarsened(this.#known?.missing ?? [], quarantineRangesMax);
    const row: Omit<QuarantineRow, 'incarnation'> = {
      isActive,
      sinceMs: this.#sinceMs,
      begunMs: this.#begunMs,
      ranges: isActive ? ranges : [],
    };
    this.#isRecording = true;
    replica.log.persistQuarantine(row, () => {
      if (this.#isClosed) return;
      this.#isRecording = false;
      replica.isMuted = false;
      then?.();
      this.#next();
    });
    turn.schedule();
  }

  #emit(
    level: 'info' | 'warn' | 'error',
    kind: string,
    fields: Readonly<Record<string, string | number | undefined>>,
  ): void {
    const { partitionId, replicaId } = this.#options.replica;
    this.#options.observer.emit({ level, kind, fields: { partitionId, replicaId, ...fields } });
  }
}

/** Ranges for people, the first few. */
export function textOf(ranges: readonly IndexRange[]): string {
  const shown = ranges
    .slice(0, 8)
    .map(({ firstIndex, lastIndex }) =>
      firstIndex === lastIndex ? `${firstIndex}` : `${firstIndex}-${lastIndex}`,
    );
  return ranges.length > 8 ? `${shown.join(', ')}, …` : shown.join(', ');
}
