/**
 * Quarantines that hold applying and reading while the log goes on: `ApplyFault`, begun by a machine that fails, and
 * `Administrative`, begun by an operator (specification §5.6, §6, KER-9). Both outlive the process as ledger records, and end
 * only by the word of an operator with a ticket.
 *
 * Nothing waits for the record of an `ApplyFault`: whoever forgets it asks the machine again, and is told again. An operator is
 * answered when the record is durable.
 *
 * After a machine threw, nobody knows what it holds: that quarantine is ended in another process, which applies everything
 * anew. A fault that is not the machine's, such as an entry of a kind unknown to this version, is not recorded: a process that
 * knows the kind goes on by itself.
 */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex } from '../base/ids.ts';
import type { HoldReason, HoldRow } from '../codec/hold-record.ts';
import { campaignsLast, quarantineReasons, quarantineRules } from '../policy/quarantine.ts';
import type { Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';
import type { QuarantineGate } from './quarantine-gate.ts';
import { replicaClosed } from './replica-closed.ts';
import type { Replica } from './replica.ts';
import type { TurnScheduler } from './turn.ts';

/** How a quarantine stands in which the log goes on. @public */
export interface HoldStatus {
  readonly reason: HoldReason;
  /** For how long, in milliseconds of the wall clock. */
  readonly sinceMs: number;
  /** The entry at which applying stopped; 0 where no entry is to blame. */
  readonly index: LogIndex;
  /** What the machine said, or why the operator wanted it. */
  readonly detail: string;
  /** Ticket of whoever set it; empty where the system did. */
  readonly ticket: string;
  /** An operator can end it in this process. */
  readonly awaitsOperator: boolean;
}

/** What a desk needs. */
export interface HoldDeskOptions {
  readonly replica: Replica;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly turn: TurnScheduler;
}

type Hold = Omit<HoldRow, 'incarnation'>;

const none: readonly Hold[] = [];
const nobody: readonly ((error: ClustorError) => void)[] = [];

/** Units of a ticket and of an operator's reason at most; a record keeps no more. */
export const holdTextLengthMax = 256;

/**
 * Why nothing is applied until an operator says so, if that is so; whoever waits for an entry is told. What a repair ends is no
 * reason: it is waited for.
 */
export function heldUntilOperator(gate: QuarantineGate): ClustorError | undefined {
  if (gate.gravest === undefined) return undefined;
  const inForce = gate.reasons;
  const reason = quarantineReasons.find(
    (one) => inForce.has(one) && quarantineRules[one].endedBy === 'operator',
  );
  return reason === undefined ? undefined : gate.errorOf(reason);
}

/** See the file comment. */
export class HoldDesk {
  readonly #options: HoldDeskOptions;
  /** In force, with what the ledger says or would say of them. */
  #rows: readonly Hold[] = none;
  #waiting: readonly ((error: ClustorError) => void)[] = nobody;
  /** The fault of this process is not the machine's; nobody but another version ends it. */
  #isForeignFault = false;
  #isClosed = false;

  constructor(options: HoldDeskOptions) {
    this.#options = options;
    const { replica } = options;
    for (const row of replica.log.holds) {
      this.#rows = [...this.#rows, row];
      replica.gate.enter(row.reason, row.detail);
      this.#emitBegun(row);
    }
  }

  /** Those in force. */
  get statuses(): readonly HoldStatus[] {
    const { clock } = this.#options;
    return this.#rows.map(({ reason, sinceMs, index, detail, ticket }) => ({
      reason,
      sinceMs: Math.max(0, Math.round(clock.wallMs() - sinceMs)),
      index,
      detail,
      ticket,
      awaitsOperator: this.#obstacle(reason) === undefined,
    }));
  }

  /** Applying stopped; `isOfMachine` where the machine failed. Whoever waited has been answered. */
  faulted(error: ClustorError, isOfMachine: boolean): void {
    const { replica, clock } = this.#options;
    const row: Hold = {
      reason: 'ApplyFault',
      isActive: true,
      sinceMs: clock.wallMs(),
      index: (replica.apply.appliedIndex + 1) as LogIndex,
      detail: error.message,
      ticket: '',
    };
    this.#isForeignFault = !isOfMachine;
    this.#begin(row);
    if (isOfMachine) void this.#record(row).catch(() => undefined);
  }

  /**
   * Puts this replica into `Administrative` quarantine; resolves when that is durable. A second call renews ticket and reason.
   * @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`, `CLUSTOR_CLOSED`.
   */
  async set(ticket: string, detail: string): Promise<void> {
    checkText('the ticket of this decision', ticket);
    checkText('the reason of this decision', detail);
    if (this.#isClosed) throw replicaClosed('surelyNot');
    const { replica, clock } = this.#options;
    const row: Hold = {
      reason: 'Administrative',
      isActive: true,
      sinceMs: this.#rowOf('Administrative')?.sinceMs ?? clock.wallMs(),
      index: 0 as LogIndex,
      detail,
      ticket,
    };
    this.#begin(row);
    replica.failUnapplied(replica.gate.errorOf('Administrative'));
    await this.#record(row);
  }

  /**
   * Ends a quarantine; resolves when that is durable, and applying goes on.
   * @throws ClustorError `CLUSTOR_QUARANTINED` where this process cannot go on, `CLUSTOR_CLOSED`.
   */
  async clear(reason: HoldReason, ticket: string): Promise<void> {
    checkText('the ticket of this decision', ticket);
    if (this.#isClosed) throw replicaClosed('surelyNot');
    const { replica } = this.#options;
    const row = this.#rowOf(reason);
    if (row === undefined)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `the replica of partition ${replica.partitionId} on this node is not in ${reason} quarantine`,
      );
    const obstacle = this.#obstacle(reason);
    if (obstacle !== undefined) throw new ClustorError('CLUSTOR_QUARANTINED', obstacle);
    await this.#record({ ...row, isActive: false, ticket });
    // It may have been set again, or have failed again, while the record was under way.
    if (replica.log.holds.some((hold) => hold.reason === reason)) return;
    const later = this.#obstacle(reason);
    if (later !== undefined) {
      await this.#record(row);
      throw new ClustorError('CLUSTOR_QUARANTINED', later);
    }
    this.#end(row, ticket);
  }

  /** Nothing is recorded any more: who waits for that is told. */
  close(): void {
    this.#isClosed = true;
    const error = replicaClosed('unknown');
    for (const reject of this.#waiting) reject(error);
    this.#waiting = nobody;
  }

  #begin(row: Hold): void {
    const { gate } = this.#options.replica;
    this.#rows = [...this.#without(row.reason), row];
    gate.enter(row.reason, row.detail);
    this.tellCore();
    this.#emitBegun(row);
  }

  #end(row: Hold, ticket: string): void {
    const { replica } = this.#options;
    const { reason, index } = row;
    this.#rows = this.#without(reason);
    if (reason === 'ApplyFault') replica.apply.forgive();
    replica.gate.leave(reason);
    this.tellCore();
    this.#emit('info', 'quarantineCleared', { reason, index, ticket });
  }

  /** Why an operator cannot end it in this process, and what to do instead. */
  #obstacle(reason: HoldReason): string | undefined {
    const { apply } = this.#options.replica;
    if (reason !== 'ApplyFault' || apply.fault === undefined) return undefined;
    if (this.#isForeignFault)
      return `${apply.fault.message}; start a version of the program that can go on there`;
    return apply.isMachineKnown
      ? undefined
      : `${apply.fault.message}; what the machine holds now is not known: mend it, restart the node, then end the quarantine`;
  }

  #rowOf(reason: HoldReason): Hold | undefined {
    return this.#rows.find((row) => row.reason === reason);
  }

  #without(reason: HoldReason): readonly Hold[] {
    return this.#rows.filter((row) => row.reason !== reason);
  }

  #record(row: Hold): Promise<void> {
    const { replica, turn } = this.#options;
    if (this.#isClosed) return Promise.reject(replicaClosed('unknown'));
    return new Promise<void>((resolve, reject) => {
      this.#waiting = [...this.#waiting, reject];
      replica.log.persistHold(row, () => {
        this.#waiting = this.#waiting.filter((other) => other !== reject);
        resolve();
      });
      turn.schedule();
    });
  }

  /** Tells the core whether healthy replicas go first: in a quarantine, and while the machine waits for a snapshot. */
  tellCore(): void {
    const { replica } = this.#options;
    const { gate } = replica;
    const isHeld = gate.lacksSnapshot || campaignsLast(gate.reasons);
    if (replica.state.isHeld !== isHeld) replica.input({ kind: 'hold', isHeld });
  }

  #emitBegun({ reason, index, detail, ticket }: Hold): void {
    this.#emit('error', 'quarantined', { reason, index, detail, ticket });
  }

  #emit(
    level: 'info' | 'error',
    kind: string,
    fields: Readonly<Record<string, string | number>>,
  ): void {
    const { partitionId, replicaId } = this.#options.replica;
    this.#options.observer.emit({ level, kind, fields: { partitionId, replicaId, ...fields } });
  }
}

function checkText(what: string, text: string): void {
  if (text === '') throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', `name ${what}`);
  if (text.length > holdTextLengthMax)
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `${what} has ${text.length} characters; at most ${holdTextLengthMax} are kept`,
    );
}
