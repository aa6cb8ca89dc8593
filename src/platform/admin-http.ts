/**
 * Serves the admin service on connections whose TLS and peer the transport has already checked.
 *
 * A certificate lets a peer ask, not harm. What one connection can hold is bounded, and nothing that it sends may throw
 * out of an event handler, since that would end the process and with it every replica of the node:
 *
 * ```
 * connection ── more than 256, or closed ── destroyed
 *     │ no request under way for 30 s ── closed (an unfinished head counts as none)
 *     ├── request ── more than 64 at once on HTTP/2 ── refused by the protocol
 *     │     │ not answered within 30 s, its body included ── its stream reset, its HTTP/1.1 connection destroyed
 *     │     ├── head that makes no URL ── 400
 *     │     ├── unknown path ── 404
 *     │     └── body above 4 MiB ── refused by Connect
 *     └── end of the transport ── destroyed
 * ```
 *
 * The servers never listen: connections are handed to them. Node's own deadlines for heads and requests start with
 * listening and so would never run; those above are kept here, and are absolute, so that a byte now and then buys nothing.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import {
  constants,
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import type { TLSSocket } from 'node:tls';

import {
  createConnectRouter,
  createContextValues,
  type ConnectRouter,
  type ContextKey,
} from '@connectrpc/connect';
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from '@connectrpc/connect-node';

import { messageOf } from '../base/errors.ts';
import type { Observer } from '../ports/observer.ts';
import type { PeerIdentity } from '../ports/transport.ts';
import type { HttpProtocol, HttpSocketHandler } from './tls-listener.ts';

/** Bounds in time of a connection. */
export interface AdminHttpLimits {
  /** How long a connection without a request stays open, in milliseconds. */
  readonly idleMsMax: number;
  /** How long a request may take, its body included, in milliseconds, unless it says that it waits longer for its answer. */
  readonly requestMsMax: number;
  /** How long it may wait at most then. */
  readonly patientMsMax: number;
}

/** Options of {@link createAdminHttp}. */
export interface AdminHttpOptions {
  readonly routes: (router: ConnectRouter) => void;
  /** Where the routes look for the caller. */
  readonly principalKey: ContextKey<PeerIdentity | undefined>;
  readonly observer: Observer;
  readonly limits?: Partial<AdminHttpLimits>;
}

/** The HTTP side of the one TLS port. */
export interface AdminHttp extends HttpSocketHandler {
  /** Ends every connection; later ones are destroyed at once. */
  close(): Promise<void>;
}

type NodeRequest = IncomingMessage | Http2ServerRequest;
type NodeResponse = ServerResponse | Http2ServerResponse;

const bodyBytesMax = 4 * 1024 * 1024;
const streamsMax = 64;
const connectionsMax = 256;
const defaultLimits: AdminHttpLimits = {
  idleMsMax: 30_000,
  requestMsMax: 30_000,
  patientMsMax: 15 * 60_000,
};
/** How long an idle HTTP/2 peer has to take the announced end. */
const goodbyeMs = 1_000;

/** Makes the handler that the TLS transport gives HTTP connections to. */
export function createAdminHttp(options: AdminHttpOptions): AdminHttp {
  const open = new Set<TLSSocket>();
  const limits = { ...defaultLimits, ...options.limits };
  const answer = requestHandler(options);
  let isClosed = false;
  return {
    handle: (socket, protocol, peer) => {
      if (isClosed || open.size >= connectionsMax) {
        socket.destroy();
        return;
      }
      open.add(socket);
      socket.once('close', () => open.delete(socket));
      serve({
        socket,
        protocol,
        limits,
        answer: (request, response) => answer(request, response, peer),
      });
    },
    close: () => {
      isClosed = true;
      for (const socket of open) socket.destroy();
      return Promise.resolve();
    },
  };
}

interface Served {
  readonly socket: TLSSocket;
  readonly protocol: HttpProtocol;
  readonly limits: AdminHttpLimits;
  readonly answer: (request: NodeRequest, response: NodeResponse) => void;
}

/** One connection from hand-over to close. A server for each is cheap, and knows who is at its other end. */
function serve({ socket, protocol, limits, answer }: Served): void {
  let underWay = 0;
  let session: ServerHttp2Session | undefined;
  let timer: NodeJS.Timeout | undefined;
  const endIdle = (): void => {
    if (session === undefined) {
      socket.destroy();
      return;
    }
    session.close();
    timer = setTimeout(() => socket.destroy(), goodbyeMs);
  };
  const becomeIdle = (): void => {
    timer = setTimeout(endIdle, limits.idleMsMax);
  };
  const onRequest = (request: NodeRequest, response: NodeResponse): void => {
    clearTimeout(timer);
    underWay++;
    const cut = (): void => {
      if ('stream' in response) response.stream.close(constants.NGHTTP2_CANCEL);
      else socket.destroy();
    };
    let deadline = setTimeout(() => {
      const leftMs = Math.min(saidTimeoutMs(request), limits.patientMsMax) - limits.requestMsMax;
      if (request.complete && leftMs > 0) deadline = setTimeout(cut, leftMs);
      else cut();
    }, limits.requestMsMax);
    response.once('close', () => {
      clearTimeout(deadline);
      underWay--;
      if (underWay === 0 && !socket.destroyed) becomeIdle();
    });
    answer(request, response);
  };
  socket.once('close', () => {
    clearTimeout(timer);
  });
  becomeIdle();
  if (protocol === 'h2') {
    const server = createHttp2Server({ settings: { maxConcurrentStreams: streamsMax } }, onRequest);
    server.on('session', (opened) => {
      session = opened;
      opened.on('error', () => socket.destroy());
    });
    server.emit('connection', socket);
  } else {
    createServer(onRequest).emit('connection', socket);
  }
}

/** How long the caller waits for its answer, in milliseconds, by the words of Connect or gRPC; 0 where it does not say. */
function saidTimeoutMs({ headers }: NodeRequest): number {
  const connect = Number(headers['connect-timeout-ms'] ?? 0);
  if (connect > 0) return connect;
  const [, digits = '0', unit = ''] =
    /^(\d{1,8})([HMSmun])$/.exec(String(headers['grpc-timeout'])) ?? [];
  return Number(digits) * (timeoutUnitsMs[unit] ?? 0);
}

/** Of gRPC. */
const timeoutUnitsMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
};

/** Answers a request of a peer; throws nothing. */
function requestHandler({
  routes,
  principalKey,
  observer,
}: AdminHttpOptions): (request: NodeRequest, response: NodeResponse, peer: PeerIdentity) => void {
  const router = createConnectRouter({
    acceptCompression: [compressionGzip, compressionBrotli],
    readMaxBytes: bodyBytesMax,
    writeMaxBytes: bodyBytesMax,
  });
  routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  return (request, response, peer) => {
    const handler = handlers.get(request.url?.split('?', 1)[0] ?? '');
    if (handler === undefined) {
      sayNo(response, 404, 'there is no such path; the service is clustor.admin.v1.AdminService');
      return;
    }
    const context = createContextValues().set(principalKey, peer);
    let universal;
    try {
      universal = universalRequestFromNodeRequest(request, response, undefined, context);
    } catch {
      sayNo(response, 400, 'the request names no host that could be understood');
      return;
    }
    handler(universal)
      .then((answer) => universalResponseToNodeResponse(answer, response))
      .catch((error: unknown) => {
        // The peer left in the middle, or its time was up.
        if (universal.signal.aborted) return;
        observer.emit({
          level: 'error',
          kind: 'adminFailed',
          fields: { method: handler.method.name, message: messageOf(error) },
        });
        if ('stream' in response) response.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
        else response.destroy();
      });
  };
}

function sayNo(response: NodeResponse, status: number, error: string): void {
  const body = JSON.stringify({ error });
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  // The two classes write alike, but TypeScript cannot call a method of either.
  if ('stream' in response) response.writeHead(status, headers).end(body);
  else response.writeHead(status, headers).end(body);
}
