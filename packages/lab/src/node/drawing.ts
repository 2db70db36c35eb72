import { createRequire } from "node:module";
import * as Plot from "@observablehq/plot";
import { Resvg } from "@resvg/resvg-js";
import { JSDOM } from "jsdom";
import type { Drawing } from "../report/figure.ts";

/** Observable Plot with a document that lives outside a browser. */
export function serverDrawing(): Drawing {
  return { Plot, document: new JSDOM("").window.document };
}

/**
 * Rasterizes an SVG document, at twice its size unless `zoom` says otherwise.
 *
 * Text is set in DejaVu Sans, which travels with the package: the same picture on a machine without fonts.
 */
export function toPng(svg: string, zoom = 2): Uint8Array {
  const require = createRequire(import.meta.url);
  const font = (name: string) => require.resolve(`dejavu-fonts-ttf/ttf/${name}.ttf`);
  const image = new Resvg(svg, {
    fitTo: { mode: "zoom", value: zoom },
    font: {
      loadSystemFonts: false,
      fontFiles: [font("DejaVuSans"), font("DejaVuSans-Bold")],
      defaultFontFamily: "DejaVu Sans",
    },
  });
  return image.render().asPng();
}
