/** A real browser, without a window. */
import { chromium, type Browser } from 'playwright-core';

/** Starts the Chromium that the machine has. */
export function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env['CLUSTOR_CHROMIUM'] ?? '/usr/bin/chromium',
    // The tests run as root in containers, where Chromium's sandbox cannot start; they open files of their own only.
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
  });
}
