/**
 * What a replica refuses because it is in quarantine: asked before entries are taken in, applied or read (specification §5.6).
 * What each reason forbids stands in `policy/quarantine`; votes and acknowledgements are the core's business.
 */
import { ClustorError } from '../base/errors.ts';
import type { PartitionId } from '../base/ids.ts';
import {
  forbiddenBy,
  quarantineReasons,
  type QuarantineAction,
  type QuarantineReason,
} from '../policy/quarantine.ts';
import type { ApplyPipeline } from './apply-pipeline.ts';

interface Entered {
  readonly reason: QuarantineReason;
  readonly detail: string;
}

const none: readonly Entered[] = [];

/** See the file comment. */
export class QuarantineGate {
  readonly #partitionId: PartitionId;
  readonly #apply: ApplyPipeline;
  /** In force, with what else there is to say; most replicas never have any. */
  #rows: readonly Entered[] = none;
  /** Its log begins behind a snapshot that this node does not have, or cannot read. */
  lacksSnapshot = false;

  constructor(partitionId: PartitionId, apply: ApplyPipeline) {
    this.#partitionId = partitionId;
    this.#apply = apply;
  }

  /** Reasons that are in force. */
  get reasons(): ReadonlySet<QuarantineReason> {
    return new Set(this.#rows.map(({ reason }) => reason));
  }

  /** The gravest reason in force, for explanations. */
  get gravest(): QuarantineReason | undefined {
    return quarantineReasons.find((reason) => this.#has(reason));
  }

  /** A quarantine began; `detail` says more of it, for whoever is refused. */
  enter(reason: QuarantineReason, detail: string): void {
    this.#rows = [...this.#without(reason), { reason, detail }];
    if (forbiddenBy(new Set([reason]), 'mayApply') !== undefined) this.#apply.hold(reason);
  }

  /** It is over: what waited is applied. */
  leave(reason: QuarantineReason): void {
    this.#rows = this.#without(reason);
    this.#apply.release(reason);
  }

  /** Why an action is refused, if so. It surely has no effect: it never began. */
  refusal(action: QuarantineAction): ClustorError | undefined {
    const reason = this.#rows.length === 0 ? undefined : forbiddenBy(this.reasons, action);
    if (reason !== undefined) return this.errorOf(reason);
    const isWithout =
      action === 'mayPropose'
        ? this.lacksSnapshot
        : action === 'mayRead' && this.#apply.isRestoring;
    return isWithout ? this.#withoutState() : undefined;
  }

  /** What the machine holds is of no use until it has taken a snapshot in. */
  #withoutState(): ClustorError {
    return new ClustorError(
      'CLUSTOR_SNAPSHOT_MISSING',
      `the machine of partition ${this.#partitionId} on this node ${this.lacksSnapshot ? 'waits for' : 'is taking in'} a snapshot`,
    );
  }

  /** What somebody is told who is refused for this reason. */
  errorOf(reason: QuarantineReason): ClustorError {
    const detail = this.#rows.find((row) => row.reason === reason)?.detail ?? '';
    const options = { outcome: 'surelyNot' as const };
    if (reason === 'ApplyFault') return new ClustorError('CLUSTOR_APPLY_FAULT', detail, options);
    return new ClustorError(
      'CLUSTOR_QUARANTINED',
      `the replica of partition ${this.#partitionId} on this node is in ${reason} quarantine: ${detail}`,
      options,
    );
  }

  #has(reason: QuarantineReason): boolean {
    return this.#rows.some((row) => row.reason === reason);
  }

  #without(reason: QuarantineReason): readonly Entered[] {
    return this.#rows.filter((row) => row.reason !== reason);
  }
}
