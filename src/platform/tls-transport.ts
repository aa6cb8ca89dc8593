/**
 * The network of a node or client: mutual TLS 1.3 over TCP (specification §11).
 *
 * The listening half is in `tls-listener.ts`, the dialing one in `tls-dialer.ts`; they share the certificate of this
 * process (`certificate-keeper.ts`) and the bounded report of refusals. A renewed certificate is used by the handshakes
 * that begin after it came; connections that are open stay so.
 */
import { ClustorError } from '../base/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';
import type {
  AcceptHandler,
  DialOutcome,
  DialTarget,
  NodeAddress,
  Transport,
} from '../ports/transport.ts';
import type { CertificateKeeper } from './certificate-keeper.ts';
import { RefusalLog } from './refusal-log.ts';
import { TlsDialer } from './tls-dialer.ts';
import { TlsListener, type HttpSocketHandler } from './tls-listener.ts';

/** Options of {@link openTlsTransport}. @public */
export interface TlsTransportOptions {
  readonly clock: Clock;
  readonly observer: Observer;
  /** The identity of this process, its cluster included. Not closed with the transport. */
  readonly keeper: CertificateKeeper;
  /** Where to listen; port 0 takes a free one. A client has none. */
  readonly listen?: NodeAddress;
  /** Takes `h2` and `http/1.1` connections; without it they are refused. */
  readonly http?: HttpSocketHandler;
}

/** {@link Transport} over mutual TLS. @public */
export class TlsTransport implements Transport {
  readonly #options: TlsTransportOptions;
  readonly #refusals: RefusalLog;
  readonly #dialer: TlsDialer;
  #listener: TlsListener | undefined;
  #closed = false;

  /** Use {@link openTlsTransport}. */
  constructor(options: TlsTransportOptions) {
    const { clock, keeper, observer } = options;
    this.#options = options;
    this.#refusals = new RefusalLog(clock, observer);
    this.#dialer = new TlsDialer({ clock, keeper, refusals: this.#refusals });
  }

  /**
   * Begins to accept.
   *
   * @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` when there is no address to listen on, it is listened on already, or
   * the operating system refuses it; `CLUSTOR_CLOSED` after {@link TlsTransport.close}.
   */
  async listen(accept: AcceptHandler): Promise<NodeAddress> {
    const { clock, http, keeper, listen: address } = this.#options;
    if (this.#closed) throw new ClustorError('CLUSTOR_CLOSED', 'the transport was closed');
    if (address === undefined || this.#listener !== undefined) {
      const reason = address === undefined ? 'has no address to listen on' : 'listens already';
      throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', `the transport ${reason}`);
    }
    const refusals = this.#refusals;
    const listener = new TlsListener({ clock, keeper, refusals, address, http, accept });
    this.#listener = listener;
    try {
      return await listener.listen();
    } catch (error) {
      this.#listener = undefined;
      await listener.close();
      throw error;
    }
  }

  dial(target: DialTarget, done: (outcome: DialOutcome) => void): void {
    this.#dialer.dial(target, done);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([this.#dialer.close(), this.#listener?.close()]);
    this.#refusals.close();
  }
}

/** Makes the transport of a node, or of a client when there is nothing to listen on. @public */
export function openTlsTransport(options: TlsTransportOptions): TlsTransport {
  return new TlsTransport(options);
}
