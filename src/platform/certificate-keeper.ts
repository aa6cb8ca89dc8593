/**
 * Keeps a process supplied with a valid certificate.
 *
 * Certificates live a day at most, so every process outlives many of them. The keeper asks its source again and again, at
 * least once a minute, and adopts whatever differs from what it holds: a new leaf, or a trust bundle to which an authority
 * was added. A source that issues (instead of reading files that something else renews) is told whether half of the
 * certificate's remaining life at its adoption has gone, and answers with the old material until then.
 *
 * A source that fails or offers something else's certificate changes nothing: what is held stays in use while it lasts, the
 * failure is an event, and the next attempt comes within the minute.
 */
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import type { CancelTimer, Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';
import type { CertificateMaterial } from './certificate-files.ts';

/** What a source of certificates is told. @public */
export interface CertificateLoadRequest {
  /** What is in use; `undefined` at the first call. */
  readonly current: CertificateMaterial | undefined;
  /** Whether it is time for another certificate: half of its life has gone, or there is none yet. */
  readonly renewalDue: boolean;
}

/** Options of {@link openCertificateKeeper}. @public */
export interface CertificateKeeperOptions {
  /** Reads or issues the material; must give the same text while nothing is to change. */
  readonly load: (request: CertificateLoadRequest) => Promise<CertificateMaterial>;
  readonly clock: Clock;
  readonly observer: Observer;
}

/** Holds the certificate in use and renews it. @public */
export interface CertificateKeeper {
  /** What is in use now. */
  readonly current: CertificateMaterial;
  /** Calls `callback` after each change of {@link CertificateKeeper.current}; the result ends that. */
  onRenewed(callback: (material: CertificateMaterial) => void): () => void;
  /** Stops renewing. */
  close(): void;
}

/** The source is asked this often at least. */
const longestPauseMs = 60_000;
/** And this often at most, even when the certificate is about to expire. */
const shortestPauseMs = 1_000;
/** While a renewal is due and none comes, a warning is repeated this often. */
const overdueWarningMs = 600_000;
/** The same failure is told again this often, however often it is met. */
const failureRepeatMs = 60_000;

/**
 * Loads the first certificate and begins to renew it.
 *
 * @throws what `load` throws.
 */
export async function openCertificateKeeper(
  options: CertificateKeeperOptions,
): Promise<CertificateKeeper> {
  const first = await options.load({ current: undefined, renewalDue: true });
  return new RenewingKeeper(options, first);
}

function sameMaterial(left: CertificateMaterial, right: CertificateMaterial): boolean {
  return (
    left.certificatePem === right.certificatePem &&
    left.privateKeyPem === right.privateKeyPem &&
    left.trustBundlePem === right.trustBundlePem
  );
}

class RenewingKeeper implements CertificateKeeper {
  readonly #options: CertificateKeeperOptions;
  readonly #callbacks = new Set<(material: CertificateMaterial) => void>();
  #current: CertificateMaterial;
  /** Wall clock; moves when a certificate is adopted. */
  #renewalDueAtMs = 0;
  /** Monotonic clock; the next warning about a renewal that does not come. */
  #nextWarningMs = 0;
  #lastFailure = { reason: '', atMs: 0 };
  #cancelTimer: CancelTimer = () => {};
  #closed = false;

  constructor(options: CertificateKeeperOptions, first: CertificateMaterial) {
    this.#options = options;
    this.#current = first;
    this.#scheduleRenewal();
    this.#schedulePoll();
  }

  get current(): CertificateMaterial {
    return this.#current;
  }

  onRenewed(callback: (material: CertificateMaterial) => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer();
    this.#callbacks.clear();
  }

  #scheduleRenewal(): void {
    const wallMs = this.#options.clock.wallMs();
    this.#renewalDueAtMs = wallMs + (this.#current.notAfterMs - wallMs) / 2;
  }

  #schedulePoll(): void {
    if (this.#closed) return;
    // The wall clock may jump meanwhile; a minute is short enough to notice.
    const remainingMs = this.#renewalDueAtMs - this.#options.clock.wallMs();
    const pauseMs = remainingMs > 0 ? remainingMs : this.#pauseWhenDueMs();
    this.#cancelTimer = this.#options.clock.setTimer(
      Math.min(Math.max(pauseMs, shortestPauseMs), longestPauseMs),
      () => void this.#poll(),
    );
  }

  /** Past half life the attempts come closer together as the end comes closer. */
  #pauseWhenDueMs(): number {
    return (this.#current.notAfterMs - this.#options.clock.wallMs()) / 2;
  }

  async #poll(): Promise<void> {
    const { clock, load } = this.#options;
    const renewalDue = clock.wallMs() >= this.#renewalDueAtMs;
    try {
      const loaded = await load({ current: this.#current, renewalDue });
      if (this.#closed) return;
      if (!sameMaterial(loaded, this.#current)) this.#adopt(loaded);
      else if (renewalDue) this.#warnOverdue();
    } catch (error) {
      if (this.#closed) return;
      this.#emitFailure(error);
    }
    this.#schedulePoll();
  }

  #adopt(material: CertificateMaterial): void {
    const { spiffeId } = this.#current.identity;
    if (material.identity.spiffeId !== spiffeId) {
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `the new certificate belongs to ${material.identity.spiffeId}, not to ${spiffeId}`,
      );
    }
    this.#current = material;
    this.#scheduleRenewal();
    this.#options.observer.emit({
      level: 'info',
      kind: 'certificateRenewed',
      fields: { spiffeId, notAfter: new Date(material.notAfterMs).toISOString() },
    });
    for (const callback of this.#callbacks) callback(material);
  }

  #warnOverdue(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs < this.#nextWarningMs) return;
    this.#nextWarningMs = nowMs + overdueWarningMs;
    this.#emit('certificateRenewalOverdue', {});
  }

  #emitFailure(error: unknown): void {
    const nowMs = this.#options.clock.monotonicMs();
    const reason = messageOf(error);
    const { atMs, reason: lastReason } = this.#lastFailure;
    if (reason === lastReason && nowMs - atMs < failureRepeatMs) return;
    this.#lastFailure = { reason, atMs: nowMs };
    this.#emit('certificateRenewalFailed', {
      code: isClustorError(error) ? error.code : 'CLUSTOR_INTERNAL',
      reason,
    });
  }

  #emit(kind: string, fields: Readonly<Record<string, string>>): void {
    const { clock, observer } = this.#options;
    const { identity, notAfterMs } = this.#current;
    observer.emit({
      level: clock.wallMs() < notAfterMs ? 'warn' : 'error',
      kind,
      fields: {
        ...fields,
        spiffeId: identity.spiffeId,
        notAfter: new Date(notAfterMs).toISOString(),
      },
    });
  }
}
