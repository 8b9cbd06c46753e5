// bf16 matrix product on 16 x 16 tiles, for AMX and for its model in plain C++.
//
// A tile of weights is 16 rows x 32 bf16, a tile of activations 16 pairs x 16 lanes, exactly the layout that
// activations already have. Two tiles of rows by two of lanes are summed at once: 4 sums, 2 + 2 operands, all 8 tiles.
// `Tiles` gives load_sum<i>, store_sum<i>, load_weight<i>, load_input<i> and dot<sum, weight, input>.

template <class Tiles, int RowTiles>
static inline void tile_panel(const Word* weights, ptrdiff_t panel, int steps, const Word* b, float* c) {
  Tiles tiles;
  constexpr int kHalf = kLanes / 2;
  tiles.template load_sum<0>(c);
  tiles.template load_sum<1>(c + kHalf);
  if constexpr (RowTiles == 2) {
    tiles.template load_sum<2>(c + kTileRows * kLanes);
    tiles.template load_sum<3>(c + kTileRows * kLanes + kHalf);
  }
  for (int step = 0; step < steps; ++step) {
    const Word* w = weights + ptrdiff_t(step) * kTileRows * kTileWords;
    const Word* x = b + ptrdiff_t(step) * kTileWords * kLanes;
    tiles.template load_weight<0>(w);
    tiles.template load_input<0>(x);
    tiles.template load_input<1>(x + kHalf);
    tiles.template dot<0, 0, 0>();
    tiles.template dot<1, 0, 1>();
    if constexpr (RowTiles == 2) {
      tiles.template load_weight<1>(w + panel);
      tiles.template dot<2, 1, 0>();
      tiles.template dot<3, 1, 1>();
    }
  }
  tiles.template store_sum<0>(c);
  tiles.template store_sum<1>(c + kHalf);
  if constexpr (RowTiles == 2) {
    tiles.template store_sum<2>(c + kTileRows * kLanes);
    tiles.template store_sum<3>(c + kTileRows * kLanes + kHalf);
  }
}

// Same contract as MatMul::multiply; `columns`, `first` and `words` are multiples of kTileWords.
template <class Tiles>
static void multiply_tiles(const Word* weights, int columns, int first, int rows, int words, const Word* b, float* c) {
  Tiles::configure();
  const ptrdiff_t panel = ptrdiff_t(kTileRows) * columns;
  const int steps = words / kTileWords;
  for (int row = 0; row < rows;) {
    const Word* w = weights + row / kTileRows * panel + ptrdiff_t(first) * kTileRows;
    float* out = c + ptrdiff_t(row) * kLanes;
    if (rows - row >= 2 * kTileRows) {
      tile_panel<Tiles, 2>(w, panel, steps, b, out);
      row += 2 * kTileRows;
      continue;
    }
    if (rows - row >= kTileRows) {
      tile_panel<Tiles, 1>(w, panel, steps, b, out);
    } else {  // the last rows of the matrix: the tile's others must not reach the caller's memory
      alignas(64) float full[kTileRows * kLanes] = {};
      const size_t bytes = sizeof(float) * (rows - row) * kLanes;
      __builtin_memcpy(full, out, bytes);
      tile_panel<Tiles, 1>(w, panel, steps, b, full);
      __builtin_memcpy(out, full, bytes);
    }
    row += kTileRows;
  }
  Tiles::release();
}
