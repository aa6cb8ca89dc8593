/**
 * The listening side: accepts TLS connections and sorts them by what they ask for.
 *
 * One port serves everything. The application protocol (ALPN) says what a connection is for, and the certificate who is
 * there; until both are known and good, a connection is nothing but a socket with a deadline:
 *
 * ```
 * TCP accept ── too many open, or too many not authenticated and most of them from this address? ── destroyed
 *     │ TLS 1.3 handshake, 5 s
 *     │   no certificate, expired, not issued by the trust bundle, no common protocol ── OpenSSL and Node refuse
 *     │ identity: one SPIFFE id of this cluster ── otherwise destroyed
 *     ├── clustor/1       → the accept handler of the data path
 *     ├── h2, http/1.1    → the HTTP handler
 *     └── none            → destroyed
 * ```
 *
 * With TLS 1.3 the server's handshake ends with the client's last message, and there is no alert for what is found wrong
 * afterwards; the connection is closed. No branch above writes an application byte before the identity is known.
 *
 * Places for connections that are not authenticated are shared: when all are taken, one from an address that has fewer of
 * them takes the place of the newest one of the address that has most, so that nobody shuts others out by connecting often.
 *
 * Nothing is resumed. A resumed session skips the certificate, so that one that expired (or a trust bundle that shrank)
 * since would go unnoticed, and on some paths the peer's certificate is not there to be read. OpenSSL must therefore not
 * make stateless tickets (SSL_OP_NO_TICKET), and for the stateful ones that TLS 1.3 has instead, Node keeps no session
 * store unless asked: each one offered is unknown, and the handshake is a full one.
 *
 * TCP is accepted by a plain server and handed to the TLS one, so that a connection over the limits costs no TLS state.
 */
import { constants } from 'node:crypto';
import { createServer, Socket, type AddressInfo, type Server } from 'node:net';
import {
  createServer as createTlsServer,
  type SecureContextOptions,
  type Server as TlsServer,
  type TLSSocket,
} from 'node:tls';

import { ClustorError, messageOf } from '../base/errors.ts';
import type { ErrorCode } from '../base/error-codes.ts';
import type { CancelTimer, Clock } from '../ports/clock.ts';
import type { AcceptHandler, NodeAddress, PeerIdentity } from '../ports/transport.ts';
import type { CertificateMaterial } from './certificate-files.ts';
import type { CertificateKeeper } from './certificate-keeper.ts';
import { judgePeer } from './peer-certificate.ts';
import type { RefusalLog } from './refusal-log.ts';
import { TlsConnection, tlsErrorText } from './tls-connection.ts';

/** The protocol of the data path, for peers and clients. */
export const dataProtocol = 'clustor/1';

const httpProtocols = ['h2', 'http/1.1'] as const;

/** The HTTP versions that share the port. @public */
export type HttpProtocol = (typeof httpProtocols)[number];

/** Takes authenticated HTTP connections. @public */
export interface HttpSocketHandler {
  /** The socket is the receiver's from now on; it is destroyed when the transport closes. */
  handle(socket: TLSSocket, protocol: HttpProtocol, peer: PeerIdentity): void;
}

/** What a listener works with. */
export interface TlsListenerOptions {
  readonly clock: Clock;
  readonly keeper: CertificateKeeper;
  readonly refusals: RefusalLog;
  readonly address: NodeAddress;
  readonly http: HttpSocketHandler | undefined;
  readonly accept: AcceptHandler;
}

/** Bounds of what strangers can make this process hold. */
const handshakeTimeoutMs = 5_000;
const mostOpen = 1_024;
const mostUnauthenticated = 64;

/** A TCP connection from accept to close. */
interface OpenSocket {
  readonly socket: Socket;
  /** Address without the port. */
  readonly host: string;
  /** Address and port. */
  readonly remoteAddress: string;
  authenticated: boolean;
  cancelDeadline: CancelTimer;
}

/** TLS 1.3 only, with the certificate and the authorities of `material`. */
export function secureContextOptions(material: CertificateMaterial): SecureContextOptions {
  return {
    cert: material.certificatePem,
    key: material.privateKeyPem,
    ca: material.trustBundlePem,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

function endpointOf(socket: Socket): string | undefined {
  const { remoteAddress, remotePort } = socket;
  return remoteAddress === undefined || remotePort === undefined
    ? undefined
    : `${remoteAddress}:${remotePort}`;
}

/**
 * The TCP socket below a TLS socket that is already destroyed and no longer knows its address. Only a log line depends on
 * it; Node has no public way to ask.
 */
function socketBelow(socket: TLSSocket): Socket | undefined {
  const below: unknown = Reflect.get(socket, '_parent');
  return below instanceof Socket ? below : undefined;
}

/** Accepts connections on one address. */
export class TlsListener {
  readonly #options: TlsListenerOptions;
  readonly #server: Server;
  readonly #tlsServer: TlsServer;
  readonly #open = new Map<Socket, OpenSocket>();
  /** Those of `#open` that are not authenticated, by address and port; the oldest first. */
  readonly #unauthenticated = new Map<string, OpenSocket>();
  readonly #remoteAddresses = new WeakMap<Socket, string>();
  readonly #stopRenewals: () => void;

  constructor(options: TlsListenerOptions) {
    const { keeper } = options;
    this.#options = options;
    this.#tlsServer = createTlsServer({
      ...secureContextOptions(keeper.current),
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: [dataProtocol, ...httpProtocols],
    });
    this.#tlsServer.on('secureConnection', (socket) => this.#onSecure(socket));
    this.#tlsServer.on('tlsClientError', (error, socket) => this.#onRefusedByTls(error, socket));
    this.#server = createServer({ noDelay: true }, (socket) => this.#onAccepted(socket));
    this.#stopRenewals = keeper.onRenewed((material) => {
      this.#tlsServer.setSecureContext(secureContextOptions(material));
    });
  }

  /**
   * Binds the address.
   *
   * @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` when the operating system refuses it.
   */
  async listen(): Promise<NodeAddress> {
    const { host, port } = this.#options.address;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => {
        const reason = error.code === 'EADDRINUSE' ? 'the port is in use' : messageOf(error);
        reject(
          new ClustorError(
            'CLUSTOR_INVALID_ARGUMENT',
            `cannot listen on ${host}:${port}: ${reason}`,
            {
              cause: error,
            },
          ),
        );
      });
      this.#server.listen({ host, port }, resolve);
    });
    // Once bound, errors are those of single accepts (no file descriptors left): the listener goes on.
    this.#server.removeAllListeners('error');
    this.#server.on('error', (error) => {
      this.#refuse(
        'CLUSTOR_OVERLOADED',
        `a connection could not be accepted: ${messageOf(error)}`,
        'unknown',
      );
    });
    return { host, port: (this.#server.address() as AddressInfo).port };
  }

  /** Stops accepting and destroys every connection. */
  async close(): Promise<void> {
    this.#stopRenewals();
    const closed = new Promise<void>((resolve) => {
      if (this.#server.listening) this.#server.close(() => resolve());
      else resolve();
    });
    for (const socket of this.#open.keys()) socket.destroy();
    await closed;
  }

  #refuse(code: ErrorCode, reason: string, remoteAddress: string): void {
    this.#options.refusals.add({ code, reason, remoteAddress });
  }

  #onAccepted(socket: Socket): void {
    const remoteAddress = endpointOf(socket);
    if (remoteAddress === undefined) {
      // The other end has gone already.
      socket.destroy();
      return;
    }
    const host = socket.remoteAddress ?? '';
    if (this.#open.size >= mostOpen || !this.#hasRoomFor(host)) {
      const what = this.#open.size >= mostOpen ? 'open' : 'unauthenticated';
      this.#refuse('CLUSTOR_OVERLOADED', `too many ${what} connections`, remoteAddress);
      socket.destroy();
      return;
    }
    const { clock } = this.#options;
    const entry: OpenSocket = {
      socket,
      host,
      remoteAddress,
      authenticated: false,
      // Absolute, and not a matter of silence: a byte now and then must not hold a place.
      cancelDeadline: clock.setTimer(handshakeTimeoutMs, () => {
        this.#refuse('CLUSTOR_UNAUTHENTICATED', 'the TLS handshake took too long', remoteAddress);
        socket.destroy();
      }),
    };
    this.#open.set(socket, entry);
    this.#unauthenticated.set(remoteAddress, entry);
    this.#remoteAddresses.set(socket, remoteAddress);
    socket.on('error', () => {
      // Reported by the TLS socket above.
    });
    socket.on('close', () => {
      this.#open.delete(socket);
      this.#leaveUnauthenticated(entry);
    });
    this.#tlsServer.emit('connection', socket);
  }

  /** Whether one more stranger from `host` may come in, if need be in the place of another one. */
  #hasRoomFor(host: string): boolean {
    if (this.#unauthenticated.size < mostUnauthenticated) return true;
    const byHost = new Map<string, OpenSocket[]>();
    for (const entry of this.#unauthenticated.values()) {
      const entries = byHost.get(entry.host);
      if (entries === undefined) byHost.set(entry.host, [entry]);
      else entries.push(entry);
    }
    let most: readonly OpenSocket[] = byHost.get(host) ?? [];
    for (const entries of byHost.values()) if (entries.length > most.length) most = entries;
    const newest = most.at(-1);
    if (newest === undefined || newest.host === host) return false;
    const reason = 'too many unauthenticated connections, and most of them from this address';
    this.#refuse('CLUSTOR_OVERLOADED', reason, newest.remoteAddress);
    this.#leaveUnauthenticated(newest);
    newest.socket.destroy();
    return true;
  }

  #leaveUnauthenticated(entry: OpenSocket): void {
    entry.cancelDeadline();
    if (entry.authenticated) return;
    entry.authenticated = true;
    this.#unauthenticated.delete(entry.remoteAddress);
  }

  #onSecure(socket: TLSSocket): void {
    socket.on('error', () => {
      // Whoever takes the socket listens too; nobody does for one that is refused.
    });
    const remoteAddress = endpointOf(socket);
    const entry =
      remoteAddress === undefined ? undefined : this.#unauthenticated.get(remoteAddress);
    if (remoteAddress === undefined || entry === undefined) {
      socket.destroy();
      return;
    }
    const verdict = judgePeer(socket.getPeerX509Certificate(), {
      clusterId: this.#options.keeper.current.identity.clusterId,
      mustBeNode: false,
      nodeId: undefined,
    });
    if (verdict.kind === 'refused') {
      this.#refuse(verdict.code, verdict.reason, remoteAddress);
      socket.destroy();
      return;
    }
    this.#leaveUnauthenticated(entry);
    this.#handOver(socket, verdict.identity, remoteAddress);
  }

  #handOver(socket: TLSSocket, peer: PeerIdentity, remoteAddress: string): void {
    const { accept, clock, http } = this.#options;
    const protocol = socket.alpnProtocol;
    if (protocol === dataProtocol) {
      const connection = new TlsConnection({ socket, peer, remoteAddress, clock });
      connection.start(accept(connection));
      return;
    }
    const httpProtocol = httpProtocols.find((known) => known === protocol);
    if (httpProtocol !== undefined && http !== undefined) {
      http.handle(socket, httpProtocol, peer);
      return;
    }
    const reason =
      httpProtocol === undefined
        ? 'the peer named no application protocol (ALPN)'
        : `${httpProtocol} is not served here`;
    this.#refuse('CLUSTOR_UNAUTHENTICATED', reason, remoteAddress);
    socket.destroy();
  }

  /** The handshake failed, or Node refused the certificate after it. */
  #onRefusedByTls(error: Error, socket: TLSSocket): void {
    const below = socketBelow(socket);
    const known = below === undefined ? undefined : this.#remoteAddresses.get(below);
    const remoteAddress = known ?? endpointOf(socket) ?? 'unknown';
    // Node types it as Error; it is the verdict's name, or null.
    const verdict = socket.authorizationError as unknown;
    if (typeof verdict === 'string') {
      const expired = verdict === 'CERT_HAS_EXPIRED' || verdict === 'CERT_NOT_YET_VALID';
      this.#refuse(
        expired ? 'CLUSTOR_CERTIFICATE_EXPIRED' : 'CLUSTOR_UNAUTHENTICATED',
        `the peer's certificate is not accepted: ${verdict}`,
        remoteAddress,
      );
    } else if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') {
      const reason = `the TLS handshake failed: ${tlsErrorText(error)}`;
      this.#refuse('CLUSTOR_UNAUTHENTICATED', reason, remoteAddress);
    }
    // Otherwise the peer left in the middle (port scans and health checks do), and nothing was refused.
    socket.destroy();
  }
}
