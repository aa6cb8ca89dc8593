/**
 * The dialing side: one TLS connection to a node of this cluster.
 *
 * Whom the address belongs to is decided by the SPIFFE id in the certificate and not by host name: nodes move, addresses
 * are reused, and a name in DNS proves nothing here. The check runs in place of Node's own, when the handshake is done and
 * before anything is sent. No session is ever offered for resumption, so the certificate is there every time.
 */
import { X509Certificate } from 'node:crypto';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';

import type { ErrorCode } from '../base/error-codes.ts';
import { ClustorError } from '../base/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { CloseReason, DialOutcome, DialTarget, PeerIdentity } from '../ports/transport.ts';
import type { CertificateKeeper } from './certificate-keeper.ts';
import { judgePeer } from './peer-certificate.ts';
import type { RefusalLog } from './refusal-log.ts';
import { closeReasonOf, isCertificateError, TlsConnection } from './tls-connection.ts';
import { dataProtocol, secureContextOptions } from './tls-listener.ts';

/** What a dialer works with. */
export interface TlsDialerOptions {
  readonly clock: Clock;
  readonly keeper: CertificateKeeper;
  readonly refusals: RefusalLog;
}

/** From the first packet to a verified peer. */
const dialTimeoutMs = 2_000;

/** Makes outgoing connections with the certificate that is current when each is dialed. */
export class TlsDialer {
  readonly #options: TlsDialerOptions;
  readonly #open = new Set<TLSSocket>();
  readonly #stopRenewals: () => void;
  #secureContext: SecureContext;
  #closed = false;

  constructor(options: TlsDialerOptions) {
    const { keeper } = options;
    this.#options = options;
    this.#secureContext = createSecureContext(secureContextOptions(keeper.current));
    this.#stopRenewals = keeper.onRenewed((material) => {
      this.#secureContext = createSecureContext(secureContextOptions(material));
    });
  }

  /** Dials; `done` is called once, never before this returns. */
  dial(target: DialTarget, done: (outcome: DialOutcome) => void): void {
    const { clock } = this.#options;
    const impossible = this.#impossible(target);
    if (impossible !== undefined) {
      clock.endOfTurn(() => done({ kind: 'failed', reason: impossible }));
      return;
    }
    const attempt: DialAttempt = { target, done, peer: undefined, settled: false };
    const socket = this.#connect(attempt);
    const fail = (reason: CloseReason): void => {
      if (attempt.settled) return;
      attempt.settled = true;
      cancelTimeout();
      socket.destroy();
      done({ kind: 'failed', reason });
    };
    const cancelTimeout = clock.setTimer(dialTimeoutMs, () => {
      fail({ kind: 'failed', detail: `no connection within ${dialTimeoutMs} ms` });
    });
    this.#open.add(socket);
    socket.on('close', () => {
      this.#open.delete(socket);
      fail(this.#closed ? { kind: 'closed' } : { kind: 'failed', detail: 'the peer hung up' });
    });
    socket.on('error', (error: Error) => {
      if (attempt.settled) return;
      this.#reportRefusal(error, target);
      fail(failureOf(error));
    });
    socket.on('secureConnect', () => {
      if (attempt.settled) return;
      const { peer } = attempt;
      if (peer === undefined || !socket.authorized || socket.alpnProtocol !== dataProtocol) {
        fail({ kind: 'unauthenticated', detail: 'the peer is no node of this protocol' });
        return;
      }
      attempt.settled = true;
      cancelTimeout();
      this.#handOver(socket, attempt, peer);
    });
  }

  /** Destroys every outgoing connection; those being dialed fail. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopRenewals();
    for (const socket of this.#open) socket.destroy();
  }

  /** Why nothing can be dialed; Node would throw at a wrong port number. */
  #impossible(target: DialTarget): CloseReason | undefined {
    if (this.#closed) return { kind: 'closed' };
    const { port } = target.address;
    if (Number.isInteger(port) && port > 0 && port < 65_536) return undefined;
    return { kind: 'failed', detail: `${port} is no port number` };
  }

  #connect(attempt: DialAttempt): TLSSocket {
    const { address, expected } = attempt.target;
    return connect({
      host: address.host,
      port: address.port,
      secureContext: this.#secureContext,
      rejectUnauthorized: true,
      ALPNProtocols: [dataProtocol],
      // Called when the chain was found good; the certificate's host names decide nothing.
      checkServerIdentity: (_host, certificate) => {
        const verdict = judgePeer(new X509Certificate(certificate.raw), {
          clusterId: this.#options.keeper.current.identity.clusterId,
          mustBeNode: true,
          nodeId: expected,
        });
        if (verdict.kind === 'refused') return new ClustorError(verdict.code, verdict.reason);
        attempt.peer = verdict.identity;
        return undefined;
      },
    });
  }

  #handOver(socket: TLSSocket, attempt: DialAttempt, peer: PeerIdentity): void {
    const { target, done } = attempt;
    const { clock } = this.#options;
    const remoteAddress = endpointOf(target);
    const connection = new TlsConnection({ socket, peer, remoteAddress, clock });
    const handlers = target.handlers(connection);
    done({ kind: 'connected', connection });
    connection.start(handlers);
  }

  /** A failed dial is a refusal when it was this side that refused. */
  #reportRefusal(error: Error, target: DialTarget): void {
    const code = refusalCodeOf(error);
    if (code === undefined) return;
    const { refusals } = this.#options;
    refusals.add({ code, reason: error.message, remoteAddress: endpointOf(target) });
  }
}

/** A connection being made. */
interface DialAttempt {
  readonly target: DialTarget;
  readonly done: (outcome: DialOutcome) => void;
  /** Set by the check of the peer's certificate. */
  peer: PeerIdentity | undefined;
  settled: boolean;
}

function endpointOf(target: DialTarget): string {
  return `${target.address.host}:${target.address.port}`;
}

function failureOf(error: Error): CloseReason {
  if (error instanceof ClustorError) return { kind: 'unauthenticated', detail: error.message };
  return closeReasonOf(error);
}

function refusalCodeOf(error: Error): ErrorCode | undefined {
  if (error instanceof ClustorError) return error.code;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
    return 'CLUSTOR_CERTIFICATE_EXPIRED';
  }
  // What begins with ERR_SSL is an alert: the other side refused, and reports it there.
  return isCertificateError(code) && code?.startsWith('ERR_') === false
    ? 'CLUSTOR_UNAUTHENTICATED'
    : undefined;
}
