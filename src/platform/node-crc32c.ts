/** A native CRC-32C where one is installed: an optional dependency, so a machine without it only computes more slowly. */
import { installNativeCrc32c } from '../base/crc32c.ts';

let installed: Promise<boolean> | undefined;

/** Installs the native implementation once; resolves with whether there is one. */
export function installPlatformCrc32c(): Promise<boolean> {
  installed ??= install();
  return installed;
}

async function install(): Promise<boolean> {
  let native: typeof import('@node-rs/crc32');
  try {
    native = await import('@node-rs/crc32');
  } catch {
    return false;
  }
  installNativeCrc32c((bytes, crc) => native.crc32c(bytes, crc));
  return true;
}
