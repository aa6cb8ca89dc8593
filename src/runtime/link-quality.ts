/**
 * What a node knows of the way to another one, and of the other's disk.
 *
 * The way is measured by what travels anyway: one heartbeat at a time, from its sending to its echo, and the question that
 * every link asks once a second, so that two followers know of each other too. What the other node says of its disk comes
 * with its echoes, once a frame: the disk belongs to the node, not to a partition.
 */
import type { PartitionId } from '../base/ids.ts';
import { freshLinkRtt, isHighRtt, noteRoundTrip, type LinkRtt } from '../policy/link-rtt.ts';
import type { Clock } from '../ports/clock.ts';
import type { Message } from './wire-session.ts';

/** What measuring needs. */
export interface LinkQualityOptions {
  readonly clock: Clock;
  /** Average round trip beyond which the way is long. */
  readonly highRttMs: number;
  /** The way became long, or is so no more. */
  readonly rttChanged: (isHigh: boolean) => void;
}

interface Probe {
  readonly partitionId: PartitionId;
  readonly round: number;
  readonly sentMs: number;
}

/** An echo that did not come within this time was lost; another heartbeat is timed. */
const probeMsMax = 3_000;

/** See the file comment. */
export class LinkQuality {
  readonly #options: LinkQualityOptions;
  #rtt: LinkRtt = freshLinkRtt();
  #probe: Probe | undefined;
  #deviceLatencyUs = 0;

  constructor(options: LinkQualityOptions) {
    this.#options = options;
  }

  /** Whether elections across this link need more time. */
  get isHigh(): boolean {
    return isHighRtt(this.#rtt);
  }

  /** What the node says of its disk, in milliseconds; `undefined` before it said anything on this connection. */
  get deviceLatencyMs(): number | undefined {
    return this.#deviceLatencyUs === 0 ? undefined : this.#deviceLatencyUs / 1_000;
  }

  /** A new connection may take another way, or lead to another life of the node: what was known is forgotten. */
  reset(): void {
    const wasHigh = this.isHigh;
    this.#rtt = freshLinkRtt();
    this.#probe = undefined;
    this.#deviceLatencyUs = 0;
    if (wasHigh) this.#options.rttChanged(false);
  }

  /** A heartbeat leaves. */
  heartbeatSent(partitionId: PartitionId, round: number): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#probe !== undefined && nowMs - this.#probe.sentMs < probeMsMax) return;
    this.#probe = { partitionId, round, sentMs: nowMs };
  }

  /** Echoes came; one of them may be the one that is waited for. */
  echoed(echoes: Extract<Message, { readonly kind: 'heartbeatBatchResponse' }>): void {
    const { elements, deviceLatencyUs } = echoes;
    this.#deviceLatencyUs = deviceLatencyUs;
    const probe = this.#probe;
    if (probe === undefined) return;
    const isAnswered = elements.some(
      ({ partitionId, round }) => round === probe.round && partitionId === probe.partitionId,
    );
    if (!isAnswered) return;
    this.#probe = undefined;
    this.answered(probe.sentMs);
  }

  /** What was sent at `sentMs` has been answered. */
  answered(sentMs: number): void {
    const { clock, highRttMs, rttChanged } = this.#options;
    const wasHigh = this.isHigh;
    noteRoundTrip(this.#rtt, clock.monotonicMs() - sentMs, highRttMs);
    if (this.isHigh !== wasHigh) rttChanged(this.isHigh);
  }
}
