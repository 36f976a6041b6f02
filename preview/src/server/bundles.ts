/** The scripts and pages of the preview itself, bundled from their sources, once. */

import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** By the name under which each is served; '' is the frame's page. */
export type Bundles = Readonly<Record<string, string | Uint8Array>>

const SOURCE = new URL('..', import.meta.url)

export async function bundle(): Promise<Bundles> {
  const built = await build({
    entryPoints: {
      'program-page': fileURLToPath(new URL('runtime/main.ts', SOURCE)),
      shell: fileURLToPath(new URL('shell/main.ts', SOURCE)),
    },
    bundle: true,
    write: false,
    outdir: '/',
    format: 'iife',
    target: 'es2022',
    charset: 'utf8',
    logLevel: 'silent',
    loader: { '.css': 'css' },
    // The engine tells more of what a program does wrong then.
    define: { 'process.env.NODE_ENV': '"development"' },
  })
  const files = Object.fromEntries(built.outputFiles.map(({ path, contents }) => [path.slice(1), contents]))
  return { ...files, '': await page('shell'), program: await page('runtime') }
}

function page(folder: string): Promise<string> {
  return readFile(new URL(`${folder}/index.html`, SOURCE), 'utf8')
}
