import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import {
  loadCertificateFiles,
  parseCertificateMaterial,
  type CertificateTexts,
} from '../../src/platform/certificate-files.ts';
import { identityOf, uriNamesOf } from '../../src/platform/peer-certificate.ts';
import { Certificates, home, hourMs } from './tls-fixture.ts';

let certificates: Certificates;
let good: CertificateTexts;
let folder: string;

beforeAll(async () => {
  certificates = await Certificates.create();
  const issued = await certificates.node(1);
  good = {
    certificate: issued.certificatePem,
    privateKey: issued.privateKeyPem,
    trustBundle: certificates.authority.certificatePem,
  };
  folder = mkdtempSync(join(tmpdir(), 'clustor-certificates-'));
});

afterAll(() => rmSync(folder, { recursive: true }));

function expectInvalid(changes: Partial<CertificateTexts>, message: string): void {
  expect(() => parseCertificateMaterial({ ...good, ...changes })).toThrow(
    expect.objectContaining({
      code: 'CLUSTOR_INVALID_ARGUMENT',
      message: expect.stringContaining(message) as string,
    }),
  );
}

describe('certificate material', () => {
  test('tells identity and validity', () => {
    const material = parseCertificateMaterial(good);

    expect(material.identity).toMatchObject({ kind: 'node', clusterId: home, nodeId: 1 });
    expect(material.notBeforeMs).toBeLessThan(Date.now());
    expect(material.notAfterMs).toBeGreaterThan(Date.now() + hourMs - 60_000);
  });

  test('what is no certificate, key or authority is named', async () => {
    expectInvalid({ certificate: '' }, 'the certificate holds no PEM certificate');
    expectInvalid({ privateKey: 'x' }, 'the private key holds no unencrypted PEM private key');
    expectInvalid({ trustBundle: '' }, 'the trust bundle holds no PEM certificate');
    expectInvalid(
      { trustBundle: good.certificate },
      'the trust bundle holds a certificate that is',
    );
    const garbage = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
    expectInvalid({ certificate: garbage }, 'the certificate holds a certificate that cannot be');
    const other = await certificates.node(1);
    expectInvalid({ privateKey: other.privateKeyPem }, 'does not belong to the certificate');
  });

  test('an encrypted key is refused', () => {
    const { privateKey } = generateKeyPairSync('ec', {
      namedCurve: 'P-256',
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' },
    });

    expectInvalid({ privateKey }, 'no unencrypted PEM private key');
  });

  test('a certificate that no authority of the bundle issued is refused', () => {
    const trustBundle = certificates.foreignAuthority.certificatePem;

    expectInvalid({ trustBundle }, 'was issued by no authority in the trust bundle');
  });

  test('a bundle may hold two authorities while one replaces the other', () => {
    const { authority, foreignAuthority } = certificates;
    const trustBundle = foreignAuthority.certificatePem + authority.certificatePem;

    expect(parseCertificateMaterial({ ...good, trustBundle }).trustBundlePem).toBe(trustBundle);
  });

  test('a certificate without exactly one identity is refused', async () => {
    const uri = `spiffe://clustor/${home}/node/1`;
    for (const uris of [[], ['https://example.org/'], [uri, uri]]) {
      const issued = await certificates.withUris(...uris);
      const { certificatePem: certificate, privateKeyPem: privateKey } = issued;

      expectInvalid({ certificate, privateKey }, 'names no node or client');
    }
  });

  test('a certificate that is not valid now is expired, or not yet valid', () => {
    const code = 'CLUSTOR_CERTIFICATE_EXPIRED';
    for (const wallMs of [Date.now() + 2 * hourMs, Date.now() - 2 * hourMs]) {
      expect(() => parseCertificateMaterial({ ...good, wallMs })).toThrow(
        expect.objectContaining({ code }),
      );
    }
  });

  test('files are read, and a missing one is named', async () => {
    const files = {
      certificateFile: join(folder, 'node.pem'),
      privateKeyFile: join(folder, 'node-key.pem'),
      trustBundleFile: join(folder, 'ca.pem'),
    };
    writeFileSync(files.certificateFile, good.certificate);
    writeFileSync(files.privateKeyFile, good.privateKey);

    await expect(loadCertificateFiles(files)).rejects.toMatchObject({
      code: 'CLUSTOR_INVALID_ARGUMENT',
      message: `the trust bundle file ${files.trustBundleFile} does not exist`,
    });

    writeFileSync(files.trustBundleFile, good.trustBundle);
    expect((await loadCertificateFiles(files)).identity).toMatchObject({ nodeId: 1 });
  });
});

describe('names in a certificate', () => {
  test('URI names are cut from the text by its grammar', () => {
    expect(uriNamesOf('')).toEqual([]);
    expect(uriNamesOf('URI:a://b, DNS:c, IP Address:0:0:0:0:0:0:0:1, URI:d')).toEqual([
      'a://b',
      'd',
    ]);
    expect(uriNamesOf('DNS:"a, URI:spiffe://clustor/x", URI:b')).toEqual(['b']);
    expect(uriNamesOf('DNS:"a\\", URI:c", URI:b')).toEqual(['b']);
    expect(uriNamesOf('DNS:"unfinished, URI:b')).toBeUndefined();
    expect(uriNamesOf('nonsense')).toBeUndefined();
  });

  test('a name that only contains an identity is none', async () => {
    const trap = `https://a.example/, URI:spiffe://clustor/${home}/node/1`;
    const issued = await certificates.withUris(trap);
    const certificate = new X509Certificate(issued.certificatePem);

    expect(certificate.subjectAltName).toContain(`spiffe://clustor/${home}/node/1"`);
    expect(identityOf(certificate)).toMatchObject({
      kind: 'refused',
      code: 'CLUSTOR_UNAUTHENTICATED',
    });
  });
});
