/**
 * An authenticated TLS socket as a `Connection`.
 *
 * The socket's events begin to flow only when the owner has said who listens (`start`), so nothing that arrived before is
 * lost and nothing is told too early. `closed` follows the socket's own 'close', which comes exactly once.
 *
 * `end` must not turn into a reset: a socket that is destroyed with unread bytes resets the stream, and a reset may eat the
 * last bytes that were sent (the refusal that the other end should read). So after `end` whatever still arrives is read and
 * dropped, until the other end closes too or has had time enough.
 */
import type { TLSSocket } from 'node:tls';

import { messageOf } from '../base/errors.ts';
import type { CancelTimer, Clock } from '../ports/clock.ts';
import type {
  CloseReason,
  Connection,
  ConnectionHandlers,
  PeerIdentity,
} from '../ports/transport.ts';

/** How long the other end may take to close after {@link Connection.end}. */
const lingerMs = 5_000;

/** Idle time after which the system looks whether the other end is there; what nobody answers is closed by it. */
const keepAliveMs = 30_000;

/** What a connection is made of. */
export interface TlsConnectionParts {
  readonly socket: TLSSocket;
  readonly peer: PeerIdentity;
  readonly remoteAddress: string;
  readonly clock: Clock;
}

/** OpenSSL's certificate verdicts and TLS alerts about certificates, as Node names them. */
const certificateErrorPattern =
  /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_PURPOSE|INVALID_CA|PATH_LENGTH_|HOSTNAME_MISMATCH|CRL_|ERR_SSL_.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED))/;

/** Whether an error of Node's TLS is about who the other end, or this one, is. */
export function isCertificateError(code: string | undefined): boolean {
  return code !== undefined && certificateErrorPattern.test(code);
}

/** OpenSSL's words if it was OpenSSL that failed, otherwise the error's own. */
export function tlsErrorText(error: Error): string {
  const { reason } = error as Error & { readonly reason?: unknown };
  return typeof reason === 'string' ? reason : messageOf(error);
}

/** Why a socket ended with an error, as the owner is told. */
export function closeReasonOf(error: Error): CloseReason {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ECONNREFUSED') return { kind: 'refused' };
  if (isCertificateError(code)) return { kind: 'unauthenticated', detail: tlsErrorText(error) };
  return { kind: 'failed', detail: tlsErrorText(error) };
}

/** Chunks of one send that are copied together. */
const joinedBytesMax = 256 * 1024;

/** A connection over a socket whose peer is known. */
export class TlsConnection implements Connection {
  readonly peer: PeerIdentity;
  readonly remoteAddress: string;
  readonly #socket: TLSSocket;
  readonly #clock: Clock;
  #handlers: ConnectionHandlers | undefined;
  #reason: CloseReason = { kind: 'closed' };
  #ending = false;
  /** Something was left queued after a send, and its owner waits for `drained`. */
  #draining = false;
  #cancelLinger: CancelTimer = () => {};

  constructor(parts: TlsConnectionParts) {
    this.peer = parts.peer;
    this.remoteAddress = parts.remoteAddress;
    this.#socket = parts.socket;
    this.#clock = parts.clock;
    parts.socket.setNoDelay(true);
    parts.socket.setKeepAlive(true, keepAliveMs);
  }

  /** Names the listener; to be called once, in the turn in which the connection was made. */
  start(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
    const socket = this.#socket;
    socket.on('error', (error: Error) => {
      this.#reason = closeReasonOf(error);
    });
    socket.on('close', () => {
      this.#cancelLinger();
      handlers.closed(this.#reason);
    });
    socket.on('data', (chunk: Uint8Array) => {
      if (!this.#ending) handlers.data(chunk);
    });
  }

  get queuedBytes(): number {
    return this.#socket.writableLength;
  }

  send(chunks: readonly Uint8Array[]): void {
    const socket = this.#socket;
    const [first] = chunks;
    if (first === undefined || !socket.writable) return;
    let bytes = 0;
    for (const chunk of chunks) bytes += chunk.length;
    if (chunks.length === 1) {
      socket.write(first, this.#written);
    } else if (bytes <= joinedBytesMax) {
      // One write of joined chunks is cheaper than a gathering write, which joins them as well before it encrypts.
      socket.write(Buffer.concat(chunks, bytes), this.#written);
    } else {
      socket.cork();
      const last = chunks.length - 1;
      chunks.forEach((chunk, at) => {
        if (at === last) socket.write(chunk, this.#written);
        else socket.write(chunk);
      });
      socket.uncork();
    }
    if (socket.writableLength > 0) this.#draining = true;
  }

  pause(paused: boolean): void {
    if (this.#ending) return;
    if (paused) this.#socket.pause();
    else this.#socket.resume();
  }

  end(): void {
    if (this.#ending) return;
    this.#ending = true;
    const socket = this.#socket;
    if (socket.destroyed) return;
    socket.end();
    socket.resume();
    this.#cancelLinger = this.#clock.setTimer(lingerMs, () => socket.destroy());
  }

  destroy(): void {
    this.#ending = true;
    this.#socket.destroy();
  }

  /** 'drain' is about the high-water mark; owners want to know when nothing is left. */
  readonly #written = (): void => {
    if (!this.#draining || this.#socket.writableLength > 0) return;
    this.#draining = false;
    if (!this.#socket.destroyed && !this.#ending) this.#handlers?.drained();
  };
}
