;; Inner products of one int8 vector with many, 16 numbers at a time.
;; Numbers lie in -127..127, so the sum of two 16-bit products cannot overflow.
(module
  (import "library" "memory" (memory 1))
  (func (export "dotProducts")
    (param $query i32) (param $vectors i32) (param $products i32) (param $count i32) (param $size i32)
    (local $end i32) (local $offset i32) (local $left v128) (local $right v128) (local $sum v128)
    (local.set $end (i32.add (local.get $products) (i32.shl (local.get $count) (i32.const 2))))
    (block $done
      (loop $vector
        (br_if $done (i32.ge_u (local.get $products) (local.get $end)))
        (local.set $sum (v128.const i32x4 0 0 0 0))
        (local.set $offset (i32.const 0))
        (loop $block
          (local.set $left (v128.load (i32.add (local.get $query) (local.get $offset))))
          (local.set $right (v128.load (i32.add (local.get $vectors) (local.get $offset))))
          (local.set $sum
            (i32x4.add
              (local.get $sum)
              (i32x4.extadd_pairwise_i16x8_s
                (i16x8.add
                  (i16x8.extmul_low_i8x16_s (local.get $left) (local.get $right))
                  (i16x8.extmul_high_i8x16_s (local.get $left) (local.get $right))))))
          (local.set $offset (i32.add (local.get $offset) (i32.const 16)))
          (br_if $block (i32.lt_u (local.get $offset) (local.get $size))))
        (i32.store
          (local.get $products)
          (i32.add
            (i32.add (i32x4.extract_lane 0 (local.get $sum)) (i32x4.extract_lane 1 (local.get $sum)))
            (i32.add (i32x4.extract_lane 2 (local.get $sum)) (i32x4.extract_lane 3 (local.get $sum)))))
        (local.set $vectors (i32.add (local.get $vectors) (local.get $size)))
        (local.set $products (i32.add (local.get $products) (i32.const 4)))
        (br $vector)))))
