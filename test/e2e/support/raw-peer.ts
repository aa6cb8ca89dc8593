/** A peer that speaks TLS and frames by hand, so that it can say what the product never would. */
import { connect, type TLSSocket } from 'node:tls';

import { ByteWriter } from '../../../src/base/bytes.ts';
import { errorCodeOfWireNumber, type ErrorCode } from '../../../src/base/error-codes.ts';
import { incarnation, nodeId, type ClusterId } from '../../../src/base/ids.ts';
import { FrameAssembler } from '../../../src/codec/frame-assembler.ts';
import { ownHandshake } from '../../../src/codec/handshake.ts';
import { bodyBytesMax } from '../../../src/codec/wire-catalog.ts';
import { decodeBody, encodeMessage, type WireMessage } from '../../../src/codec/wire-messages.ts';
import type { IssuedCertificate } from '../../../src/security/development-ca.ts';

const waitMsMax = 10_000;
const bootId = incarnation('018c0d6c-9c11-7e9d-8000-86f5bb8c0b07');

/** Who a raw peer is and whom it dials. */
export interface RawPeerOptions {
  readonly address: string;
  readonly clusterId: ClusterId;
  /** 0 for a client. */
  readonly nodeId: number;
  readonly certificate: IssuedCertificate;
}

/** How the other side took what it was sent. */
export type Reaction =
  | { readonly kind: 'goodbye'; readonly code: ErrorCode }
  | { readonly kind: 'answered'; readonly message: WireMessage }
  | { readonly kind: 'closed' };

/** A message as a frame. */
export function frameOf(message: WireMessage): Uint8Array {
  const writer = new ByteWriter();
  encodeMessage(message, writer);
  return writer.take();
}

/** A request that any node answers to anybody. */
export const describeFrame: Uint8Array = frameOf({
  kind: 'describeRequest',
  requestId: 7,
  deadlineMs: 5000,
  routingEpoch: 0,
});

/** One connection; see the file comment. */
export class RawPeer {
  readonly #options: RawPeerOptions;
  readonly #socket: TLSSocket;
  readonly #assembler = new FrameAssembler(bodyBytesMax);
  readonly #heard: Reaction[] = [];
  #wake: () => void = () => undefined;

  private constructor(options: RawPeerOptions, socket: TLSSocket) {
    this.#options = options;
    this.#socket = socket;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.#assembler.push(chunk, (body) => {
        const message = decodeBody(body, { forwardCompat: true });
        if (message.kind === 'goodbye') {
          this.#hear({ kind: 'goodbye', code: errorCodeOfWireNumber(message.errorCode) });
        } else this.#hear({ kind: 'answered', message });
      });
    });
    socket.on('close', () => {
      this.#hear({ kind: 'closed' });
    });
  }

  /** Connects; the TLS handshake must succeed. */
  static async dial(options: RawPeerOptions): Promise<RawPeer> {
    const colon = options.address.lastIndexOf(':');
    const socket = connect({
      host: options.address.slice(0, colon),
      port: Number(options.address.slice(colon + 1)),
      cert: options.certificate.certificatePem,
      key: options.certificate.privateKeyPem,
      rejectUnauthorized: false,
      ALPNProtocols: ['clustor/1'],
      minVersion: 'TLSv1.3',
    });
    const peer = new RawPeer(options, socket);
    await new Promise<void>((done, reject) => {
      socket.once('secureConnect', done);
      socket.once('error', reject);
    });
    return peer;
  }

  /** Says hello as the certificate has it and waits for the answer. */
  async greet(): Promise<Reaction> {
    const { clusterId, nodeId: id } = this.#options;
    const handshake = ownHandshake({ clusterId, nodeId: nodeId(id), bootId });
    this.send(frameOf({ kind: 'hello', ...handshake, targetNodeId: nodeId(0) }));
    return this.reaction();
  }

  send(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** No more bytes will come. */
  end(): void {
    this.#socket.end();
  }

  /** The next thing heard. */
  async reaction(): Promise<Reaction> {
    const endMs = performance.now() + waitMsMax;
    while (this.#heard.length === 0) {
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) throw new Error('the node neither answered nor closed');
      await new Promise<void>((done) => {
        const timer = setTimeout(done, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          done();
        };
      });
    }
    return this.#heard.shift() ?? { kind: 'closed' };
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #hear(reaction: Reaction): void {
    this.#heard.push(reaction);
    this.#wake();
  }
}
