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

/** See the file comment. */
export class QuarantineGate {
  readonly #partitionId: PartitionId;
  readonly #apply: ApplyPipeline;
  readonly #details = new Map<QuarantineReason, string>();

  constructor(partitionId: PartitionId, apply: ApplyPipeline) {
    this.#partitionId = partitionId;
    this.#apply = apply;
  }

  /** Reasons that are in force. */
  get reasons(): ReadonlySet<QuarantineReason> {
    return new Set(this.#details.keys());
  }

  /** The gravest reason in force, for explanations. */
  get gravest(): QuarantineReason | undefined {
    return quarantineReasons.find((reason) => this.#details.has(reason));
  }

  /** A quarantine began; `detail` says more of it, for whoever is refused. */
  enter(reason: QuarantineReason, detail: string): void {
    this.#details.set(reason, detail);
    if (forbiddenBy(new Set([reason]), 'mayApply') !== undefined) this.#apply.hold(reason);
  }

  /** It is over: what waited is applied. */
  leave(reason: QuarantineReason): void {
    this.#details.delete(reason);
    this.#apply.release(reason);
  }

  /** Why an action is refused, if so. It surely has no effect: it never began. */
  refusal(action: QuarantineAction): ClustorError | undefined {
    if (this.#details.size === 0) return undefined;
    const reason = forbiddenBy(this.reasons, action);
    return reason === undefined ? undefined : this.errorOf(reason);
  }

  /** What somebody is told who is refused for this reason. */
  errorOf(reason: QuarantineReason): ClustorError {
    const detail = this.#details.get(reason) ?? '';
    const options = { outcome: 'surelyNot' as const };
    if (reason === 'ApplyFault') return new ClustorError('CLUSTOR_APPLY_FAULT', detail, options);
    return new ClustorError(
      'CLUSTOR_QUARANTINED',
      `the replica of partition ${this.#partitionId} on this node is in ${reason} quarantine: ${detail}`,
      options,
    );
  }
}
