/**
 * The certificate of this process: read, checked, and refused with a plain message before any socket sees it.
 *
 * OpenSSL would report most of these mistakes too, but late (at the first handshake), in its own words, and at the other
 * end. Everything that can be known from the three texts is checked here: that each is what it should be, that key and
 * certificate belong together, that an authority of the bundle issued the certificate, that it is valid now, and that its
 * one URI name is an identity.
 */
import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';

import { ClustorError, messageOf } from '../base/errors.ts';
import type { PeerIdentity } from '../ports/transport.ts';
import { identityOf } from './peer-certificate.ts';

/** Where certificate, key and trust bundle are. @public */
export interface CertificateFiles {
  /** PEM: the leaf certificate, then intermediates if there are any. */
  readonly certificateFile: string;
  /** PEM, unencrypted. */
  readonly privateKeyFile: string;
  /** PEM: the authorities whose certificates are trusted; two of them while one replaces the other. */
  readonly trustBundleFile: string;
}

/** The same three as PEM text. @public */
export interface CertificateTexts {
  readonly certificate: string;
  readonly privateKey: string;
  readonly trustBundle: string;
  /** Milliseconds since 1970 at which the certificate must be valid; now unless given. */
  readonly wallMs?: number;
}

/** A checked certificate with its key, the authorities to trust, and what the certificate says. @public */
export interface CertificateMaterial {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  readonly trustBundlePem: string;
  /** Who the holder is. */
  readonly identity: PeerIdentity;
  /** Milliseconds since 1970. */
  readonly notBeforeMs: number;
  /** Milliseconds since 1970. */
  readonly notAfterMs: number;
}

/** How the three are called in messages: by file, or by what they are. */
interface SourceNames {
  readonly certificate: string;
  readonly privateKey: string;
  readonly trustBundle: string;
}

const textNames: SourceNames = {
  certificate: 'the certificate',
  privateKey: 'the private key',
  trustBundle: 'the trust bundle',
};

const pemCertificatePattern = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Reads and checks certificate files.
 *
 * @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` naming the file that is missing or wrong, `CLUSTOR_CERTIFICATE_EXPIRED`
 * when the certificate is not valid now.
 */
export async function loadCertificateFiles(files: CertificateFiles): Promise<CertificateMaterial> {
  const names: SourceNames = {
    certificate: `the certificate file ${files.certificateFile}`,
    privateKey: `the private key file ${files.privateKeyFile}`,
    trustBundle: `the trust bundle file ${files.trustBundleFile}`,
  };
  const [certificate, privateKey, trustBundle] = await Promise.all([
    readText(files.certificateFile, names.certificate),
    readText(files.privateKeyFile, names.privateKey),
    readText(files.trustBundleFile, names.trustBundle),
  ]);
  return checkMaterial({ certificate, privateKey, trustBundle }, names);
}

/**
 * Checks certificate, key and bundle that are in memory.
 *
 * @throws ClustorError like {@link loadCertificateFiles}.
 */
export function parseCertificateMaterial(texts: CertificateTexts): CertificateMaterial {
  return checkMaterial(texts, textNames);
}

function invalid(message: string, cause?: unknown): ClustorError {
  return new ClustorError('CLUSTOR_INVALID_ARGUMENT', message, { cause });
}

async function readText(path: string, name: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw invalid(`${name} does not exist`, error);
    if (code === 'EACCES') throw invalid(`${name} may not be read by this process`, error);
    throw invalid(`${name} cannot be read: ${messageOf(error)}`, error);
  }
}

function parseCertificates(pem: string, name: string): readonly X509Certificate[] {
  const blocks = pem.match(pemCertificatePattern) ?? [];
  if (blocks.length === 0) throw invalid(`${name} holds no PEM certificate`);
  return blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw invalid(`${name} holds a certificate that cannot be read`, error);
    }
  });
}

function parsePrivateKey(pem: string, name: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw invalid(`${name} holds no unencrypted PEM private key`, error);
  }
}

function issuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function checkMaterial(texts: CertificateTexts, names: SourceNames): CertificateMaterial {
  const [leaf, ...intermediates] = parseCertificates(texts.certificate, names.certificate);
  if (leaf === undefined) throw invalid(`${names.certificate} holds no PEM certificate`);
  const key = parsePrivateKey(texts.privateKey, names.privateKey);
  if (!leaf.checkPrivateKey(key)) {
    throw invalid(`${names.privateKey} does not belong to ${names.certificate}`);
  }
  const authorities = parseCertificates(texts.trustBundle, names.trustBundle);
  if (!authorities.every((authority) => authority.ca)) {
    throw invalid(`${names.trustBundle} holds a certificate that is no authority`);
  }
  if (![...intermediates, ...authorities].some((issuer) => issuedBy(leaf, issuer))) {
    throw invalid(`${names.certificate} was issued by no authority in ${names.trustBundle}`);
  }
  const verdict = identityOf(leaf);
  if (verdict.kind === 'refused') {
    throw invalid(`${names.certificate} names no node or client: ${verdict.reason}`);
  }
  const notBeforeMs = Date.parse(leaf.validFrom);
  const notAfterMs = Date.parse(leaf.validTo);
  checkValidity({ notBeforeMs, notAfterMs, wallMs: texts.wallMs ?? Date.now() }, names.certificate);
  return {
    certificatePem: texts.certificate,
    privateKeyPem: texts.privateKey,
    trustBundlePem: texts.trustBundle,
    identity: verdict.identity,
    notBeforeMs,
    notAfterMs,
  };
}

function checkValidity(
  times: { readonly notBeforeMs: number; readonly notAfterMs: number; readonly wallMs: number },
  name: string,
): void {
  if (times.wallMs > times.notAfterMs) {
    throw new ClustorError(
      'CLUSTOR_CERTIFICATE_EXPIRED',
      `${name} expired on ${new Date(times.notAfterMs).toISOString()}`,
    );
  }
  if (times.wallMs < times.notBeforeMs) {
    throw new ClustorError(
      'CLUSTOR_CERTIFICATE_EXPIRED',
      `${name} is not valid before ${new Date(times.notBeforeMs).toISOString()}`,
    );
  }
}
