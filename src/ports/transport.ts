/**
 * Authenticated byte streams between nodes and from clients.
 *
 * The port carries bytes, not messages: framing, handshake and refusals are the product's own code above it, so that the
 * simulator can cut a stream in the middle of a frame. Identity is established below it (TLS with client certificates in
 * the real host) and is trustworthy when a connection is handed over.
 */
import type { ClusterId, NodeId } from '../base/ids.ts';

/** Who is at the other end, from its certificate (SPIFFE URI SAN). @public */
export type PeerIdentity =
  | {
      readonly kind: 'node';
      readonly clusterId: ClusterId;
      readonly nodeId: NodeId;
      readonly spiffeId: string;
    }
  | {
      readonly kind: 'client';
      readonly clusterId: ClusterId;
      readonly role: ClientRole;
      readonly name: string;
      readonly spiffeId: string;
    };

/** Roles a client certificate can carry in its SPIFFE path. @public */
export type ClientRole = 'client' | 'operator' | 'observer';

/** Why a connection ended or could not be made. @public */
export type CloseReason =
  | { readonly kind: 'closed' }
  | { readonly kind: 'refused' }
  | { readonly kind: 'unauthenticated'; readonly detail: string }
  | { readonly kind: 'failed'; readonly detail: string };

/** An open stream. @public */
export interface Connection {
  /** The verified other end. */
  readonly peer: PeerIdentity;
  /** For log lines: address and port. */
  readonly remoteAddress: string;
  /** Bytes handed to {@link Connection.send} and not yet taken by the operating system. */
  readonly queuedBytes: number;
  /** Sends chunks in order as one write; the chunks must not change afterwards. Silently dropped once closed. */
  send(chunks: readonly Uint8Array[]): void;
  /** Stops (true) or resumes reading: back-pressure towards the sender. */
  pause(paused: boolean): void;
  /** Sends what is queued, then closes. */
  end(): void;
  /** Closes at once. */
  destroy(): void;
}

/** What the owner of a connection is told. @public */
export interface ConnectionHandlers {
  /** Bytes arrived; the chunk belongs to the receiver. */
  data(chunk: Uint8Array): void;
  /** The stream ended; called exactly once, never before the connection was handed over. */
  closed(reason: CloseReason): void;
  /** `queuedBytes` fell to zero. */
  drained(): void;
}

/** Takes an accepted connection and says who listens to it. @public */
export type AcceptHandler = (connection: Connection) => ConnectionHandlers;

/** Where a node can be reached. @public */
export interface NodeAddress {
  readonly host: string;
  readonly port: number;
}

/** The outcome of dialing. @public */
export type DialOutcome =
  | { readonly kind: 'connected'; readonly connection: Connection }
  | { readonly kind: 'failed'; readonly reason: CloseReason };

/** The network of one node (or one client). @public */
export interface Transport {
  /** Begins to accept data-path connections. Resolves with the bound address once listening. */
  listen(accept: AcceptHandler): Promise<NodeAddress>;
  /**
   * Dials an address; the other end must present a node certificate of this cluster and, if `expected` is given, of that
   * node. `handlers` is asked only on success. The result arrives through `done`, once.
   */
  dial(target: DialTarget, done: (outcome: DialOutcome) => void): void;
  /** Stops accepting and destroys what is open. */
  close(): Promise<void>;
}

/** Whom to dial. @public */
export interface DialTarget {
  readonly address: NodeAddress;
  readonly expected: NodeId | undefined;
  /** Listens to the connection once made. */
  readonly handlers: (connection: Connection) => ConnectionHandlers;
}
